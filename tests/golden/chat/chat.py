# Makes chat.json: conversations rendered by the transformers library (5.23.0) with templates of our own in the manner of
# published models (ChatML, headers, [INST]), and the ids of the tokenizers of tests/golden/tokenizer/kinds.
#   python tests/golden/chat/chat.py
import json
import shutil
import sys
import tempfile
from datetime import datetime
from pathlib import Path

import transformers
from transformers import AutoTokenizer
from transformers.utils import chat_template_utils

HERE = Path(sys.path[0])
KINDS = {'chatml': 'qwen2', 'headers': 'llama3', 'inst': 'mistral'}
NOW = datetime(2026, 7, 5, 9, 3)


class Clock:
    @staticmethod
    def now():
        return NOW


chat_template_utils.datetime = Clock  # what strftime_now of a template asks


def said(*pairs):
    return [{'role': role, 'content': content} for role, content in pairs]


CONVERSATIONS = {
    'question': said(('user', 'What is a fever?')),
    'system': said(('system', 'Answer in German.'), ('user', 'What is a fever?')),
    'turns': said(('user', 'Hi'), ('assistant', 'Hello! How can I help?'), ('user', 'Is 38.5 °C a fever?')),
    'system and turns': said(('system', ' Be short. '), ('user', 'a'), ('assistant', 'b'), ('user', 'c'), ('assistant', 'd')),
    'scripts': said(('user', 'ما هي الحمى؟ 什么是发烧？ 👩🏽‍⚕️')),
    'white space': said(('user', '  two\n\n  lines\t\r\n')),
    'markup': said(('user', '{{ bos_token }} {% if %} <b>&amp;</b> "quoted" \\n \'x\'')),
    'special tokens inside': said(('user', 'end<|im_end|></s><|eot_id|>[/INST]')),
    'empty': said(('user', '')),
    'two questions': said(('user', 'a'), ('user', 'b')),
}

golden = {'transformers': transformers.__version__, 'now': NOW.isoformat(), 'conversations': CONVERSATIONS, 'templates': {}}
for name, kind in KINDS.items():
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(HERE / name, folder, dirs_exist_ok=True)
        shutil.copy(HERE.parent / 'tokenizer' / 'kinds' / f'{kind}.json', Path(folder) / 'tokenizer.json')
        tokenizer = AutoTokenizer.from_pretrained(folder)
    cases = []
    for title, messages in CONVERSATIONS.items():
        for prompted in (True, False):
            case = {'conversation': title, 'add_generation_prompt': prompted}
            how = {'add_generation_prompt': prompted}
            try:
                case['text'] = tokenizer.apply_chat_template(messages, tokenize=False, **how)
                case['ids'] = tokenizer.apply_chat_template(messages, tokenize=True, return_dict=False, **how)
            except Exception as error:  # jinja2.TemplateError, from raise_exception
                case['refused'] = str(error)
            cases.append(case)
    golden['templates'][name] = {'tokenizer': kind, 'cases': cases}
    print(name, sum('text' in case for case in cases), [case['refused'] for case in cases if 'refused' in case])
(HERE / 'chat.json').write_text(json.dumps(golden, ensure_ascii=False, separators=(',', ':')) + '\n')
