// README.md beside weights, in the form that Hugging Face shows: what the model is, whom each expert serves, what it was trained on,
// how well it does, where it comes from, how to load it. A function of the model and its provenance alone.
import { countParameters } from '../../model/count.ts';
import { expertCounts, type ModelSpec } from '../../model/spec.ts';
import type { HeldOutLoss, Provenance } from './provenance.ts';

/** @param target as --to names it @param modelType of the new config.json */
export function modelCard(spec: ModelSpec, target: string, modelType: string, provenance: Provenance): string {
  const count = countParameters(spec);
  const sparse = spec.layers.flatMap((kind, i) => (kind === 'moe' ? [i] : []));
  const shape = `${spec.num_hidden_layers} layers of width ${spec.hidden_size}, ${thousands(count.total)} parameters`;
  const counts = expertCounts(spec).join(' or ');
  const experts = `${counts} experts in layers ${sparse.join(', ')}, ${spec.num_experts_per_tok} per token, ${thousands(count.active)} parameters active`;
  const title = sparse.length > 0 ? `Mixture of ${counts} experts` : 'Dense language model';
  const parts = [
    frontMatter(
      (provenance.families?.languages ?? []).map(({ code }) => code),
      modelType,
    ),
    `# ${title}\n`,
    `${shape}${sparse.length > 0 ? `; ${experts}` : ''}. Vocabulary ${thousands(spec.vocab_size)}, context ${thousands(spec.max_position_embeddings)}.\n`,
    families(provenance),
    loading(target, modelType),
    data(provenance),
    metrics(provenance.metrics),
    origin(provenance),
  ];
  return parts.filter(part => part !== '').join('\n');
}

const thousands = (n: number): string => n.toLocaleString('en-US');

function frontMatter(codes: string[], modelType: string): string {
  // Hugging Face knows ISO 639 codes; ones such as zh-Hans are cut to their language.
  const languages = [...new Set(codes.map(code => code.split(/[-_]/)[0]))].filter(code => /^[a-z]{2,3}$/.test(code));
  const lines = languages.length > 0 ? ['language:', ...languages.map(code => `- ${JSON.stringify(code)}`)] : [];
  const library = modelType === 'language_family_moe' ? [] : ['library_name: transformers'];
  return ['---', ...lines, ...library, 'pipeline_tag: text-generation', 'tags:', '- language-family-moe', '---\n'].join(
    '\n',
  );
}

function families({ families }: Provenance): string {
  if (!families) return '';
  const { names, languages } = families;
  const rows = names.map((name, expert) => {
    const served = languages
      .filter(language => language.expert === expert)
      .map(({ code, name }) => `${name} (${code})`);
    return `| ${expert} | ${name} | ${served.join(', ') || '–'} |`;
  });
  return `## Families\n\n| expert | family | languages |\n|---|---|---|\n${rows.join('\n')}\n`;
}

function loading(target: string, modelType: string): string {
  const code = (remote: string): string =>
    `\`\`\`python\nfrom transformers import AutoModelForCausalLM, AutoTokenizer\n\nmodel = AutoModelForCausalLM.from_pretrained('.'${remote})\ntokenizer = AutoTokenizer.from_pretrained('.')\n\`\`\`\n`;
  if (target === 'safetensors')
    return '## Loading\n\nWith `moe generate DIR`, `moe eval DIR` or `moe train --init DIR`; `moe export DIR --to qwen2-moe` makes it loadable by transformers.\n';
  if (target === 'apollo')
    return `## Loading\n\nWith \`moe\`, or with the two Python files of the published Apollo-MoE (configuration_ and modeling_upcycling_qwen2_moe.py) put beside the weights:\n\n${code(', trust_remote_code=True')}`;
  const routed = 'Routing is plain top-k on the router alone; no language ids are needed.';
  return `## Loading\n\nStock transformers, no remote code:\n\n${code('')}${modelType === 'qwen2_moe' ? `\n${routed}\n` : ''}`;
}

function data({ data }: Provenance): string {
  if (!data || data.length === 0) return '';
  const rows = data.flatMap(({ source, package: from, version, sha256 }) =>
    Object.entries(sha256).map(
      ([code, hash]) => `| ${source} | ${`${from} ${version}`.trim()} | ${code} | \`${hash}\` |`,
    ),
  );
  return `## Text\n\n| source | package | language | SHA-256 |\n|---|---|---|---|\n${rows.join('\n')}\n`;
}

function metrics(measured: HeldOutLoss | undefined): string {
  if (!measured) return '';
  const rows = Object.entries(measured.free).map(([code, { loss, bitsPerByte, tokens }]) => {
    const given = measured.given[code]?.loss;
    return `| ${code} | ${loss.toFixed(4)} | ${given?.toFixed(4) ?? '–'} | ${bitsPerByte.toFixed(4)} | ${tokens} |`;
  });
  return `## Held-out loss at step ${measured.step}\n\nNats per token by plain inference and with language ids given; bits per byte of the first.\n\n| language | free | given | bits per byte | tokens |\n|---|---|---|---|---|\n${rows.join('\n')}\n`;
}

function origin({ run, parent, upcycling, weights_sha256 }: Provenance): string {
  const lines = [
    run && `- run ${run.name}, step ${run.step}${run.seed === undefined ? '' : `, seed ${run.seed}`}`,
    weights_sha256 && `- SHA-256 of the weights before export: \`${weights_sha256}\``,
    parent && `- parent: ${parent.name}, SHA-256 of its weights \`${parent.sha256}\``,
    upcycling && `- ${upcycling}`,
  ].filter(Boolean);
  return `## Provenance\n\nWritten by \`moe\` (language-family-moe).\n\n${lines.join('\n')}\n`;
}
