// Our own layout, whatever the model was opened from: every tensor under its own name, and a config.json that moe reads.
import type { FamilyMap } from '../../config/families.ts';
import { fromConfigJson, MODEL_TYPE, toConfigJson } from '../../model/config-json.ts';
import { expertsIn, type ModelSpec, tensorSpecs } from '../../model/spec.ts';
import { type ConfigFacts, eosTokenId, type Layout } from './layout.ts';

const layerOf = (name: string): number => Number(/\.layers\.(\d+)\./.exec(name)![1]);

/** @param biases the balancing biases of the layers that have one, by name */
export function ownLayout(
  spec: ModelSpec,
  map: FamilyMap,
  { dtype, tokens }: ConfigFacts,
  biases: readonly string[],
): Layout {
  // Read back once, which gives the keys one order whatever the model was opened from.
  const { spec: inOrder } = fromConfigJson(toConfigJson(spec, map, tokens.eos[0]), 'config.json');
  const config = {
    ...toConfigJson(inOrder, map, tokens.eos[0]),
    torch_dtype: dtype,
    bos_token_id: tokens.bos,
    eos_token_id: eosTokenId(tokens),
    pad_token_id: tokens.pad,
  };
  const own = tensorSpecs(spec).map(({ name, shape }) => ({ name, shape, from: name }));
  const bias = biases.map(name => ({ name, shape: [expertsIn(spec, layerOf(name))], from: name }));
  return { modelType: MODEL_TYPE, tensors: [...own, ...bias], configJson: `${JSON.stringify(config, null, 2)}\n` };
}
