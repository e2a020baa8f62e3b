# Makes kinds/NAME.json, small tokenizers of the kinds that published models have, trained with Hugging Face's Python library
# (tokenizers 0.23.3), and kinds/ids.json, what that library answers for the fifty texts of heldOutArticles and for the
# texts that trip tokenizers.
#   npx tsx tests/golden/tokenizer/texts.ts > texts.json && python tests/golden/tokenizer/kinds.py < texts.json
import hashlib
import json
import sys
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, __version__, decoders, models, normalizers, pre_tokenizers, processors, trainers

HERE = Path(sys.path[0]) / 'kinds'
texts = json.load(sys.stdin)
TAIL = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"

# So that merges lie across the characters that regular expressions of JavaScript and others class differently.
MARKS = ['a \ufeffb\ufeff c\u0085 \u0085d \ufeff\ufeff \u0085\u0085'] * 3000


def special(content, **how):
    return AddedToken(content, special=True, normalized=False, **how)


def start(tokenizer, token):
    return processors.TemplateProcessing(single=f'{token} $A', special_tokens=[(token, tokenizer.token_to_id(token))])


def byte_level(pre_tokenizer, normalizer, added, ignore_merges=False):
    """Byte-level BPE: all bytes first, then merges; added tokens behind."""
    tokenizer = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    if normalizer:
        tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=2048, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(texts['training'] + MARKS, trainer)
    tokenizer.add_special_tokens([token for token in added if token.special])
    tokenizer.add_tokens([token for token in added if not token.special])
    return tokenizer


def split(numbers):
    rule = pre_tokenizers.Split(Regex(WORDS + numbers + TAIL), 'isolated')
    return pre_tokenizers.Sequence([rule, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def sentence_piece(normalizer, pre_tokenizer, decoder, added):
    """BPE on characters, bytes for those not in the vocabulary: <unk>, <s>, </s>, 256 bytes, then pieces."""
    bytes_ = [f'<0x{byte:02X}>' for byte in range(256)]
    tokenizer = Tokenizer(models.BPE(unk_token='<unk>', fuse_unk=True, byte_fallback=True))
    if normalizer:
        tokenizer.normalizer = normalizer
    # Words apart while training, so that pieces do not span them; the file itself cuts as the model's does.
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme='never', split=True)
    trainer = trainers.BpeTrainer(
        vocab_size=2500, limit_alphabet=700, special_tokens=['<unk>', '<s>', '</s>', *bytes_], show_progress=False
    )
    tokenizer.train_from_iterator(texts['training'], trainer)
    file = json.loads(tokenizer.to_str())
    file['added_tokens'] = [token for token in file['added_tokens'] if token['id'] < 3]  # bytes are no added tokens
    file['pre_tokenizer'] = None
    tokenizer = Tokenizer.from_str(json.dumps(file))
    if pre_tokenizer:
        tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoder
    tokenizer.add_special_tokens(added)
    tokenizer.post_processor = start(tokenizer, '<s>')
    return tokenizer


def qwen2():
    added = [special('<|endoftext|>'), special('<|im_start|>'), special('<|im_end|>')]
    added.append(AddedToken('<tool_call>', special=False, normalized=False))
    return byte_level(split(r'\p{N}'), normalizers.NFC(), added)


def llama3():
    names = ['begin_of_text', 'end_of_text', 'start_header_id', 'end_header_id', 'eot_id']
    tokenizer = byte_level(split(r'\p{N}{1,3}'), None, [special(f'<|{name}|>') for name in names], ignore_merges=True)
    template = start(tokenizer, '<|begin_of_text|>')
    tokenizer.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), template])
    return tokenizer


def olmoe():
    """GPT-NeoX's: the older rule of byte-level BPE, and added tokens for runs of spaces."""
    spaces = [AddedToken(' ' * n, special=False, normalized=True) for n in range(2, 9)]
    added = [special('<|endoftext|>'), special('<|padding|>'), *spaces]
    tokenizer = byte_level(pre_tokenizers.ByteLevel(add_prefix_space=False), normalizers.NFC(), added)
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    return tokenizer


def decoder():
    return decoders.Sequence([decoders.Replace('▁', ' '), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(' ', 1, 0)])


def llama2():
    """Also Mistral 0.1 and Mixtral: spaces are replaced by the normaliser, nothing cuts words apart."""
    normalizer = normalizers.Sequence([normalizers.Prepend('▁'), normalizers.Replace(' ', '▁')])
    return sentence_piece(normalizer, None, decoder(), [])


def mistral():
    """As of 0.3: the pre-tokenizer replaces spaces, with one before the first piece alone; instructions are added tokens."""
    metaspace = pre_tokenizers.Metaspace(prepend_scheme='first', split=False)
    return sentence_piece(None, metaspace, decoder(), [special('[INST]'), special('[/INST]')])


def unigram():
    """SentencePiece's other model: words apart at spaces, NFKC, pieces by probability."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(' {2,}'), ' ')])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme='always', split=True)
    tokenizer.decoder = decoders.Metaspace(prepend_scheme='always', split=True)
    trainer = trainers.UnigramTrainer(
        vocab_size=4000, special_tokens=['<pad>', '</s>', '<unk>'], unk_token='<unk>', show_progress=False
    )
    tokenizer.train_from_iterator(texts['training'], trainer)
    end = tokenizer.token_to_id('</s>')
    tokenizer.post_processor = processors.TemplateProcessing(single='$A </s>', special_tokens=[('</s>', end)])
    return tokenizer


def digest(value):
    return hashlib.sha256(value.encode()).hexdigest()[:16]


HERE.mkdir(exist_ok=True)
golden = {'tokenizers': __version__, 'kinds': {}}
for make in (qwen2, llama3, olmoe, llama2, mistral, unigram):
    file = HERE / f'{make.__name__}.json'
    if '--keep' not in sys.argv:
        file.write_text(json.dumps(json.loads(make().to_str()), ensure_ascii=False, separators=(',', ':')) + '\n')
    tokenizer = Tokenizer.from_file(str(file))
    ids = {code: tokenizer.encode(text, add_special_tokens=False).ids for code, text in texts['heldOut'].items()}
    golden['kinds'][make.__name__] = {
        'size': tokenizer.get_vocab_size(),
        'languages': {code: [len(row), digest(' '.join(map(str, row)))] for code, row in ids.items()},
        'decoded': {code: digest(tokenizer.decode(row, skip_special_tokens=False)) for code, row in ids.items()},
        'prompt': tokenizer.encode('Hello').ids,
        'tricky': {name: tokenizer.encode(text, add_special_tokens=False).ids for name, text in texts['tricky'].items()},
    }
    print(make.__name__, file.stat().st_size, tokenizer.get_vocab_size(), sum(map(len, ids.values())), file=sys.stderr)
(HERE / 'ids.json').write_text(json.dumps(golden, separators=(',', ':')) + '\n')
