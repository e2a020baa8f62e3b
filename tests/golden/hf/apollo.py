# The published Apollo-MoE layout (arXiv 2410.10626; model_type upcycling-qwen2-moe), forward written anew on Qwen2
# modules: dense Qwen2 layers, in the last two a router W [E, D] and E full-size networks.
#   p = softmax(W x) over all E;  S = the k largest;  in training a missing language's expert replaces the last;
#   y = Σ_{j in S} p_j FFN_j(x): raw probabilities (norm_topk_prob false), no shared expert, no balance loss.
# Writes apollo/ (called by make.py): the checkpoint, golden logits and routing as for the others, and for one
# training batch the hybrid-k loss with its gradients.
import json
import shutil

import torch
from safetensors.torch import save_file
from torch import nn
from transformers import AutoModelForCausalLM, Qwen2Config, Qwen2ForCausalLM
from transformers.models.qwen2.modeling_qwen2 import Qwen2MLP

import make as tools

E, K, LAYERS = 7, 2, 4


class TopKRouter(nn.Module):
    """Named so that make.py hooks it as it hooks the library's routers: returns (logits, gates, experts)."""

    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(E, width))
        self.top_k = K
        self.language_T = None  # expert of each token's language; used in training only

    def forward(self, x_TD):
        logits_TE = x_TD @ self.weight.T
        probability_TE = logits_TE.softmax(-1, dtype=torch.float32)
        expert_TK = probability_TE.topk(K, -1).indices
        if self.training:
            absent_T = (expert_TK != self.language_T[:, None]).all(-1)
            expert_TK[:, -1] = torch.where(absent_T, self.language_T, expert_TK[:, -1])
        return logits_TE, probability_TE.gather(1, expert_TK).to(x_TD.dtype), expert_TK


class MoeBlock(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.gate = TopKRouter(config.hidden_size)
        self.experts = nn.ModuleList([Qwen2MLP(config) for _ in range(E)])

    def forward(self, x_BSD):
        x_TD = x_BSD.reshape(-1, x_BSD.shape[-1])
        _, gate_TK, expert_TK = self.gate(x_TD)
        y_TD = torch.zeros_like(x_TD)
        for e, network in enumerate(self.experts):
            token, slot = torch.nonzero(expert_TK == e, as_tuple=True)
            y_TD = y_TD.index_add(0, token, network(x_TD[token]) * gate_TK[token, slot, None])
        return y_TD.reshape(x_BSD.shape)


def base_config(tied=True):
    return Qwen2Config(
        vocab_size=96, hidden_size=32, intermediate_size=32, num_hidden_layers=LAYERS, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=128, rms_norm_eps=1e-6, tie_word_embeddings=tied,
        rope_parameters={'rope_type': 'default', 'rope_theta': 1e6}, pad_token_id=0, bos_token_id=2, eos_token_id=2,
        attn_implementation='eager',
    )


def build(config):
    model = Qwen2ForCausalLM._from_config(config).float()
    for layer in model.model.layers[LAYERS - 2 :]:
        layer.mlp = MoeBlock(config)
    return model.eval()


def set_language(model, language_BS):
    for layer in model.model.layers[LAYERS - 2 :]:
        layer.mlp.gate.language_T = language_BS.flatten()


def config_json(layers, hidden, intermediate, heads, kv_heads, vocab, positions, tied, window, eos, dtype):
    """The keys of the published config.json, in its order."""
    name = 'UpcyclingQwen2Moe'
    return {
        'architectures': [f'{name}ForCausalLM'],
        'attention_dropout': 0.0,
        'attn_init_change': False,
        'auto_map': {
            'AutoConfig': f'configuration_upcycling_qwen2_moe.{name}Config',
            'AutoModelForCausalLM': f'modeling_upcycling_qwen2_moe.{name}ForCausalLM',
        },
        'bos_token_id': eos,
        'decoder_sparse_step': 1,
        'eos_token_id': eos,
        'hidden_act': 'silu',
        'hidden_size': hidden,
        'initializer_range': 0.02,
        'intermediate_size': intermediate,
        'language_gate': True,
        'max_position_embeddings': positions,
        'max_window_layers': layers,
        'mlp_only_layers': list(range(layers - 2)),
        'model_type': 'upcycling-qwen2-moe',
        'moe_intermediate_size': intermediate,
        'norm_topk_prob': False,
        'num_attention_heads': heads,
        'num_experts': E,
        'num_experts_per_tok': K,
        'num_hidden_layers': layers,
        'num_key_value_heads': kv_heads,
        'output_router_logits': False,
        'rms_norm_eps': 1e-06,
        'rope_theta': 1000000.0,
        'router_aux_loss_coef': 0.0,
        'share_flag': False,
        'shared_expert_intermediate_size': intermediate,
        'sliding_window': window,
        'tie_word_embeddings': tied,
        'torch_dtype': dtype,
        'transformers_version': '4.44.2',
        'use_cache': True,
        'use_sliding_window': False,
        'vocab_size': vocab,
    }


def text_of(config):
    return json.dumps(config, indent=2, sort_keys=True) + '\n'


def small_config():
    return config_json(LAYERS, 32, 32, 4, 2, 96, 128, True, 128, 2, 'float32')


def true_config():
    """Apollo-MoE-0.5B: the published file has 1,388 bytes."""
    return config_json(24, 896, 4864, 14, 2, 151936, 131072, True, 131072, 151643, 'bfloat16')


def training_batch(generator, vocab, batch=4, width=16):
    """Ids, mask (right padding), next-token targets (−100: not learned) and the language's expert of every token."""
    ids = torch.randint(3, vocab, (batch, width), generator=generator)
    mask = torch.ones_like(ids)
    mask[1, width - 4 :] = 0
    ids[1, width - 4 :] = 0
    target = torch.full_like(ids, -100)
    target[:, :-1] = torch.where(mask[:, 1:] == 1, ids[:, 1:], -100)
    target[2, :5] = -100  # a question: read, not learned
    language = torch.randint(0, E, (batch, 1), generator=generator).repeat(1, width)
    language[3, width // 2 :] = int(torch.randint(0, E, (1,), generator=generator))  # two documents in one row
    return {'ids': ids, 'mask': mask, 'target': target, 'language_expert': language}


def loss_of(model, batch):
    """Mean cross-entropy over learned tokens. Padding is routed like any token, but nothing sees it."""
    positions = tools.positions_of(batch['mask'])
    logits = model(
        input_ids=batch['ids'], attention_mask=batch['mask'], position_ids=positions, use_cache=False
    ).logits
    return nn.functional.cross_entropy(logits.flatten(0, 1), batch['target'].flatten())


def choose():
    """As make.py chooses; the model is trained too, so the training batch must route decisively as well."""
    for seed in range(30000, 30200):
        generator = torch.Generator().manual_seed(seed)
        model = build(base_config())
        tools.randomise(model, generator)
        found, _ = tools.examine(model, generator, build)
        if not found:
            continue
        batch = training_batch(generator, 96)
        if tools.least_score_gap(model, {'sequence0': (batch['ids'], batch['mask'])}) > tools.LEAST_SCORE_GAP:
            return seed, model, batch, *found
    raise SystemExit('no seed will do')


def checkpoint_of(model):
    """Every tensor by its published name; lm_head is stored although tied, as the published files do."""
    return {n: t.clone().contiguous() for n, t in model.state_dict().items()}


def hybrid_golden(model, batch):
    """One training batch under hybrid-k: loss, gradients by name, and the forced routing of each layer."""
    model.train()
    set_language(model, batch['language_expert'])
    model.zero_grad()
    seen, handles = {}, []
    for layer, module in tools.routers_of(model).items():
        handles.append(module.register_forward_hook(lambda m, i, o, layer=layer: seen.__setitem__(layer, o)))
    loss = loss_of(model, batch)
    for handle in handles:
        handle.remove()
    loss.backward()
    tensors = {f'gradient.{n}': p.grad.clone().contiguous() for n, p in model.named_parameters()}
    real = batch['mask'].flatten()[:, None].bool()
    for layer, (_, gates, experts) in seen.items():
        tensors[f'forced_gates.layer{layer}'] = torch.where(real, gates.detach(), 0.0).contiguous()
        tensors[f'forced_experts.layer{layer}'] = torch.where(real, experts, -1).int().contiguous()
    model.eval()
    return float(loss.detach()), tensors


def as_qwen2_moe(model, batches, shared_width):
    """Largest |Δ logit| when stock Qwen2-MoE loads the same weights with a shared expert that is zero."""
    from transformers import Qwen2MoeConfig

    own = small_config()
    keys = ('vocab_size', 'hidden_size', 'intermediate_size', 'num_hidden_layers', 'num_attention_heads',
            'num_key_value_heads', 'max_position_embeddings', 'rms_norm_eps', 'tie_word_embeddings', 'mlp_only_layers',
            'moe_intermediate_size', 'norm_topk_prob', 'num_experts', 'num_experts_per_tok')
    config = Qwen2MoeConfig(
        **{k: own[k] for k in keys}, shared_expert_intermediate_size=shared_width, pad_token_id=0,
        rope_parameters={'rope_type': 'default', 'rope_theta': 1e6},
    )
    weights = checkpoint_of(model)
    weights.pop('lm_head.weight')
    for i in (LAYERS - 2, LAYERS - 1):
        prefix = f'model.layers.{i}.mlp.'
        shapes = {'gate_proj': (shared_width, 32), 'up_proj': (shared_width, 32), 'down_proj': (32, shared_width)}
        for name, shape in shapes.items():
            weights[f'{prefix}shared_expert.{name}.weight'] = torch.zeros(shape)
        weights[f'{prefix}shared_expert_gate.weight'] = torch.zeros(1, 32)
    with tools.tempfile.TemporaryDirectory() as scratch:
        config.architectures = ['Qwen2MoeForCausalLM']
        config.save_pretrained(scratch)
        save_file(weights, f'{scratch}/model.safetensors', metadata={'format': 'pt'})
        stock, info = AutoModelForCausalLM.from_pretrained(
            scratch, attn_implementation='eager', dtype=torch.float32, output_loading_info=True
        )
    assert not any(info[k] for k in ('missing_keys', 'unexpected_keys', 'mismatched_keys')), info
    tools.eager_experts(stock).eval()
    return max(
        float((tools.run(stock, *batches[n])[0] - tools.run(model, *batches[n])[0]).abs().max())
        for n in batches if n.startswith('sequence')
    )


def make():
    print('apollo')
    assert len(text_of(true_config())) == 1388, len(text_of(true_config()))
    seed, model, batch, batches, prompt, generated, figures = choose()
    tools.check_generation(model, prompt, generated)
    folder = tools.HERE / 'apollo'
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    stored = checkpoint_of(model)
    save_file(stored, folder / 'model.safetensors', metadata={'format': 'pt'})
    (folder / 'config.json').write_text(text_of(small_config()))
    (folder / 'config-0.5b.json').write_text(text_of(true_config()))
    tensors, _ = tools.golden_of(model, batches)
    save_file(tensors, folder / 'golden.safetensors')
    loss, forced = hybrid_golden(model, batch)
    save_file(forced, folder / 'hybrid.safetensors')
    stock = {str(width): as_qwen2_moe(model, batches, width) for width in (0, 1, 32)}
    tools.write_json(folder / 'golden.json', {
        'versions': tools.VERSIONS,
        'class': 'written in apollo.py on the Qwen2 modules of transformers',
        'seed': seed,
        'figures': {
            **figures, 'deviation_as_stock_qwen2_moe_by_shared_width': stock,
        },
        'config': small_config(),
        'tensors': {n: list(t.shape) for n, t in sorted(stored.items())},
        'batches': {n: {'ids': ids.tolist(), 'mask': mask.tolist()} for n, (ids, mask) in batches.items()},
        'generation': {'prompt': prompt[0].tolist(), 'ids': generated.tolist()},
        'hybrid': {'loss': loss, **{n: t.tolist() for n, t in batch.items()}},
    }, None)
    print('   ', seed, figures, 'loss', loss, 'as stock qwen2_moe', stock)
