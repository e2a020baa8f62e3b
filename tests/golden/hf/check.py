# README.md's table as a program: every forward written from the table alone, in plain torch, no transformers, and run
# on every folder with both configuration files and both layouts. It fails if the table is wrong or incomplete.
#   python check.py   prints the largest |Δ logit| and whether all experts, gates and greedy ids are the golden ones.
import json
import math
import pathlib

import torch
from safetensors.torch import load_file

HERE = pathlib.Path(__file__).parent
BOUND = 5e-5
F = torch.nn.functional


def standard(config):
    """One spelling of the settings that transformers 4 and 5 write differently."""
    c = dict(config)
    rope = c.get('rope_parameters') or {**(c.get('rope_scaling') or {}), 'rope_theta': c.get('rope_theta')}
    nested = 'full_attention' in rope
    if c['model_type'] == 'gemma3_text' and not nested:
        rope = {'full_attention': rope, 'sliding_attention': {'rope_theta': c['rope_local_base_freq']}}
    c['rope'] = rope
    c['E'] = next((c[k] for k in ('num_experts', 'num_local_experts', 'n_routed_experts') if k in c), 0)
    c['d'] = c.get('head_dim') or c['hidden_size'] // c['num_attention_heads']
    c['windows'] = windows(c)
    return c


def windows(c):
    """The window of every layer, None without."""
    kind, layers, width = c['model_type'], range(c['num_hidden_layers']), c.get('sliding_window')
    if kind in ('mistral', 'mixtral'):
        return [width for _ in layers]
    if kind in ('qwen2', 'qwen3', 'qwen2_moe', 'qwen3_moe') and not c.get('use_sliding_window'):
        return [None for _ in layers]
    if c.get('layer_types'):
        return [width if name == 'sliding_attention' else None for name in c['layer_types']]
    if kind in ('qwen2', 'qwen3'):
        return [width if i >= c['max_window_layers'] else None for i in layers]
    if kind in ('gemma2', 'gpt_oss'):
        return [width if i % 2 == 0 else None for i in layers]
    if kind == 'gemma3_text':
        return [None if (i + 1) % c['sliding_window_pattern'] == 0 else width for i in layers]
    return [None for _ in layers]


def frequencies(rope, d):
    theta, kind = rope['rope_theta'], rope.get('rope_type') or rope.get('type') or 'default'
    f = theta ** (-torch.arange(0, d, 2, dtype=torch.float64) / d)
    factor = rope.get('factor', 1.0)
    if kind == 'linear':
        return f / factor, 1.0
    if kind == 'llama3':
        length = rope['original_max_position_embeddings']
        low, high = rope['low_freq_factor'], rope['high_freq_factor']
        wave = 2 * math.pi / f
        s = (length / wave - low) / (high - low)
        between = (1 - s) * f / factor + s * f
        return torch.where(wave < length / high, f, torch.where(wave > length / low, f / factor, between)), 1.0
    if kind == 'yarn':
        lo, hi = (
            d * math.log(rope['original_max_position_embeddings'] / (2 * math.pi * (rope.get(n) or default)))
            / (2 * math.log(theta))
            for n, default in (('beta_fast', 32), ('beta_slow', 1))
        )
        if rope.get('truncate', True):
            lo, hi = math.floor(lo), math.ceil(hi)
        lo, hi = max(lo, 0), min(hi, d - 1)
        ramp = ((torch.arange(d // 2) - lo) / (hi - lo or 0.001)).clamp(0, 1)
        both = rope.get('mscale') and rope.get('mscale_all_dim')
        a = yarn_m(rope, rope['mscale']) / yarn_m(rope, rope['mscale_all_dim']) if both else yarn_m(rope, 1)
        return f / factor * ramp + f * (1 - ramp), rope.get('attention_factor') or a
    return f, 1.0


def yarn_m(rope, c):
    return 0.1 * c * math.log(rope['factor']) + 1 if rope['factor'] > 1 else 1.0


def rotate(x, positions, rope, pairs):
    """x [H, S, d]. Interleaved pairs come out half against half: the same for q and k, so scores are unchanged."""
    f, a = frequencies(rope, x.shape[-1])
    angle = positions[:, None] * f
    cos, sin = (angle.cos() * a).float(), (angle.sin() * a).float()
    one, two = (x[..., 0::2], x[..., 1::2]) if pairs else x.chunk(2, -1)
    return torch.cat([one * cos - two * sin, two * cos + one * sin], -1)


class Reader:
    def __init__(self, folder, config_file):
        self.c = standard(json.loads((folder / config_file).read_text()))
        self.w = load_file(folder / 'model.safetensors')
        self.gemma = self.c['model_type'].startswith('gemma')
        self.deepseek = self.c['model_type'].startswith('deepseek')

    def linear(self, x, name):
        return F.linear(x, self.w[name + '.weight'], self.w.get(name + '.bias'))

    def norm(self, x, name, eps=None):
        w = self.w[name + '.weight'] + (1 if self.gemma else 0)
        return w * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + (eps or self.c['rms_norm_eps']))

    def query_key_value(self, x, p, i, positions):
        """Each [H, S, ·], RoPE done, and the scale of the scores."""
        c = self.c
        heads = lambda y: y.view(len(x), -1, c['d']).transpose(0, 1)
        q, k, v = (self.linear(x, f'{p}{n}_proj') for n in 'qkv')
        whole = c['model_type'] == 'olmoe'
        if whole:
            q, k = self.norm(q, p + 'q_norm'), self.norm(k, p + 'k_norm')
            if c['clip_qkv'] is not None:
                q, k, v = (y.clamp(-c['clip_qkv'], c['clip_qkv']) for y in (q, k, v))
        q, k, v = heads(q), heads(k), heads(v)
        if p + 'q_norm.weight' in self.w and not whole:
            q, k = self.norm(q, p + 'q_norm'), self.norm(k, p + 'k_norm')
        rope = c['rope']
        if c['model_type'] == 'gemma3_text':
            rope = rope['full_attention' if c['windows'][i] is None else 'sliding_attention']
        q, k = rotate(q, positions, rope, False), rotate(k, positions, rope, False)
        return q, k, v, c.get('query_pre_attn_scalar', c['d']) ** -0.5

    def latent(self, x, p, positions):
        """The same by multi-head latent attention."""
        c, rope = self.c, self.c['rope']
        n, t, v, r = c['qk_nope_head_dim'], c['qk_rope_head_dim'], c['v_head_dim'], c['kv_lora_rank']
        heads = lambda y, width: y.view(len(x), -1, width).transpose(0, 1)
        if c['q_lora_rank'] is None:
            q = self.linear(x, p + 'q_proj')
        else:
            q = self.linear(self.norm(self.linear(x, p + 'q_a_proj'), p + 'q_a_layernorm', 1e-6), p + 'q_b_proj')
        q = heads(q, n + t)
        both = self.linear(x, p + 'kv_a_proj_with_mqa')
        key_value = heads(self.linear(self.norm(both[:, :r], p + 'kv_a_layernorm', 1e-6), p + 'kv_b_proj'), n + v)
        pairs = c.get('rope_interleave', True)
        turned = rotate(both[None, :, r:], positions, rope, pairs).expand(q.shape[0], -1, -1)
        q = torch.cat([q[..., :n], rotate(q[..., n:], positions, rope, pairs)], -1)
        scale = (n + t) ** -0.5
        if rope.get('mscale_all_dim'):
            scale *= yarn_m(rope, rope['mscale_all_dim']) ** 2
        return q, torch.cat([key_value[..., :n], turned], -1), key_value[..., n:], scale

    def attention(self, x, i):
        p, c = f'model.layers.{i}.self_attn.', self.c
        positions = torch.arange(len(x), dtype=torch.float64)
        q, k, v, scale = self.latent(x, p, positions) if self.deepseek else self.query_key_value(x, p, i, positions)
        groups = q.shape[0] // k.shape[0]
        k, v = k.repeat_interleave(groups, 0), v.repeat_interleave(groups, 0)
        scores = q @ k.transpose(1, 2) * scale
        cap = c.get('attn_logit_softcapping') if c['model_type'] == 'gemma2' else None
        if cap:
            scores = cap * torch.tanh(scores / cap)
        distance = positions[:, None] - positions[None]
        seen = (distance >= 0) & (distance < (c['windows'][i] or math.inf))
        scores = scores.masked_fill(~seen, -math.inf)
        if p + 'sinks' in self.w:
            sink = self.w[p + 'sinks'][:, None, None].expand(-1, len(x), 1)
            weights = torch.cat([scores, sink], -1).softmax(-1)[..., :-1]
        else:
            weights = scores.softmax(-1)
        return self.linear((weights @ v).transpose(0, 1).flatten(1), p + 'o_proj')

    def network(self, x, p):
        gate = self.linear(x, p + 'gate_proj')
        gate = F.gelu(gate, approximate='tanh') if self.gemma else F.silu(gate)
        return self.linear(gate * self.linear(x, p + 'up_proj'), p + 'down_proj')

    def expert(self, x, p, e):
        w, c = self.w, self.c
        if c['model_type'] == 'gpt_oss':
            both = x @ w[p + 'experts.gate_up_proj'][e] + w[p + 'experts.gate_up_proj_bias'][e]
            limit, alpha = c['swiglu_limit'], c.get('swiglu_alpha', 1.702)
            gate, up = both[:, ::2].clamp(max=limit), both[:, 1::2].clamp(-limit, limit)
            inner = (up + 1) * gate * torch.sigmoid(alpha * gate)
            return inner @ w[p + 'experts.down_proj'][e] + w[p + 'experts.down_proj_bias'][e]
        if p + 'experts.gate_up_proj' in w:
            gate, up = F.linear(x, w[p + 'experts.gate_up_proj'][e]).chunk(2, -1)
            return F.linear(F.silu(gate) * up, w[p + 'experts.down_proj'][e])
        if p + 'experts.0.w1.weight' in w:
            one, two, three = (f'{p}experts.{e}.w{n}' for n in (1, 2, 3))
            return self.linear(F.silu(self.linear(x, one)) * self.linear(x, three), two)
        return self.network(x, f'{p}experts.{e}.')

    def route(self, logits, p):
        """Gates and experts [T, k]."""
        c, kind, k = self.c, self.c['model_type'], self.c['num_experts_per_tok']
        if kind == 'gpt_oss':
            best, experts = logits.topk(k, -1)
            return best.softmax(-1), experts
        score = logits.sigmoid() if kind == 'deepseek_v3' else logits.softmax(-1)
        choice = score + self.w[p + 'gate.e_score_correction_bias'] if kind == 'deepseek_v3' else score
        if kind == 'deepseek_v3' or c.get('topk_method') == 'group_limited_greedy':
            grouped = choice.view(len(logits), c['n_group'], -1)
            group = grouped.topk(2 if kind == 'deepseek_v3' else 1, -1).values.sum(-1)
            kept = torch.zeros_like(group).scatter(1, group.topk(c['topk_group'], -1).indices, 1).bool()
            choice = choice.masked_fill(~kept.repeat_interleave(grouped.shape[-1], 1), -math.inf)
        experts = choice.topk(k, -1).indices
        gates = score.gather(1, experts)
        if kind == 'mixtral' or (c.get('norm_topk_prob') and kind != 'deepseek_v2'):
            gates = gates / gates.sum(-1, keepdim=True)
        return gates * c.get('routed_scaling_factor', 1.0), experts

    def feed_forward(self, x, i, seen):
        p = f'model.layers.{i}.mlp.'
        if f'model.layers.{i}.block_sparse_moe.gate.weight' in self.w:
            p = f'model.layers.{i}.block_sparse_moe.'
        router = p + ('router' if self.c['model_type'] == 'gpt_oss' else 'gate')
        if router + '.weight' not in self.w:
            return self.network(x, p)
        logits = self.linear(x, router)
        gates, experts = self.route(logits, p)
        order = torch.argsort(gates, dim=-1, descending=True, stable=True)
        seen[i] = (logits, gates.gather(1, order), experts.gather(1, order))
        y = torch.zeros_like(x)
        for e in range(self.c['E']):
            token, slot = torch.nonzero(experts == e, as_tuple=True)
            y = y.index_add(0, token, self.expert(x[token], p, e) * gates[token, slot, None])
        if p + 'shared_expert_gate.weight' in self.w:
            y = y + torch.sigmoid(self.linear(x, p + 'shared_expert_gate')) * self.network(x, p + 'shared_expert.')
        if p + 'shared_experts.up_proj.weight' in self.w:
            y = y + self.network(x, p + 'shared_experts.')
        return y

    def forward(self, ids):
        """Logits [S, V] of one sequence and the routing of its layers."""
        c, seen = self.c, {}
        x = self.w['model.embed_tokens.weight'][ids]
        if self.gemma:
            x = x * math.sqrt(c['hidden_size'])
        for i in range(c['num_hidden_layers']):
            p = f'model.layers.{i}.'
            y = self.attention(self.norm(x, p + 'input_layernorm'), i)
            x = x + (self.norm(y, p + 'post_attention_layernorm') if self.gemma else y)
            before = 'pre_feedforward_layernorm' if self.gemma else 'post_attention_layernorm'
            y = self.feed_forward(self.norm(x, p + before), i, seen)
            x = x + (self.norm(y, p + 'post_feedforward_layernorm') if self.gemma else y)
        tied = c.get('tie_word_embeddings')
        logits = self.norm(x, 'model.norm') @ self.w['model.embed_tokens.weight' if tied else 'lm_head.weight'].T
        cap = c.get('final_logit_softcapping')
        return (cap * torch.tanh(logits / cap) if cap else logits), seen


def compare(folder, config_file):
    home = folder.parent / folder.name.removesuffix('-fused')
    golden, description = load_file(home / 'golden.safetensors'), json.loads((home / 'golden.json').read_text())
    reader, worst = Reader(folder, config_file), 0.0
    for name, batch in description['batches'].items():
        for row, (ids, mask) in enumerate(zip(batch['ids'], batch['mask'])):
            real = torch.tensor(mask).bool()
            logits, seen = reader.forward(torch.tensor(ids)[real])
            worst = max(worst, float((logits - golden[f'logits.{name}'][row][real]).abs().max()))
            rows = slice(row * len(ids), (row + 1) * len(ids))
            assert len(seen) == sum(n.startswith(f'experts.{name}.') for n in golden)
            for i, (router, gates, experts) in seen.items():
                of = lambda what: golden[f'{what}.{name}.layer{i}'][rows][real]
                assert torch.equal(of('experts').long(), experts), (folder.name, name, i)
                for what, own in (('gates', gates), ('router_logits', router)):
                    worst = max(worst, float((of(what) - own).abs().max()))
    ids = list(description['generation']['prompt'])
    for wanted in description['generation']['ids']:
        assert int(reader.forward(torch.tensor(ids))[0][-1].argmax()) == wanted, (folder.name, len(ids))
        ids.append(wanted)
    assert worst < BOUND, (folder.name, config_file, worst)
    return worst


if __name__ == '__main__':
    torch.set_num_threads(1)
    with torch.no_grad():
        for file in sorted(HERE.glob('*/config*.json')):
            if file.name != 'config-0.5b.json':
                print(f'{file.parent.name}/{file.name}: {compare(file.parent, file.name):.1e}', flush=True)
