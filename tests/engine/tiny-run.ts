// A tiny Post-MoE model trained on a backend and a number of threads: its losses, and its weights bit for bit.
import { createHash } from 'node:crypto';
import { memoryOfTraining } from '../model/training-run.ts';
import { use } from './backends.ts';

/** Wide enough that products, attention and AdamW are cut into several tasks; dense, then two mixtures. */
const SETTINGS = {
  router: { balance_coefficient: 0.01, z_coefficient: 0.001 },
  model: {
    hidden_size: 64,
    intermediate_size: 160,
    num_attention_heads: 4,
    num_key_value_heads: 2,
    shared_expert: true,
  },
} satisfies Parameters<typeof memoryOfTraining>[1];

export interface TinyRun {
  losses: number[];
  /** SHA-256 of all weights after the last step. */
  weights: string;
}

export async function tinyRun(steps: number, ...where: Parameters<typeof use>): Promise<TinyRun> {
  await use(...where);
  const hash = createHash('sha256');
  const { losses } = await memoryOfTraining(steps, SETTINGS, async (step, model) => {
    if (step < steps) return;
    for (const [name, weight] of [...model.weights].sort(([a], [b]) => (a < b ? -1 : 1))) {
      hash.update(name).update(Buffer.from(((await weight.data()) as Float32Array).slice().buffer));
    }
  });
  return { losses, weights: hash.digest('hex') };
}
