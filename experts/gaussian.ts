// Normal random numbers from a uniform source, by the Box–Muller transform.

/** A source of N(0, 1) draws from `random`, which answers uniform numbers in [0, 1) (a seedrandom generator). */
export function gaussian(random: () => number): () => number {
  let spare: number | null = null;
  return () => {
    if (spare !== null) {
      const value = spare;
      spare = null;
      return value;
    }
    const radius = Math.sqrt(-2 * Math.log(1 - random())); // 1 − u keeps the logarithm away from 0
    const angle = 2 * Math.PI * random();
    spare = radius * Math.sin(angle);
    return radius * Math.cos(angle);
  };
}
