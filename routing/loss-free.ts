// Loss-free balancing (Wang et al. 2024, arXiv 2408.15664; used by DeepSeek-V3): no auxiliary loss, but a bias per expert that
// is added to the scores when experts are chosen, never to the gates. After each step: b_e += u · sign(mean load − load_e).

/** The next bias: experts that got less than the mean rise by `rate`, those above it fall, an even one stays. */
export function updateSelectionBias(
  bias_E: Float32Array,
  load_E: ArrayLike<number>,
  rate: number,
): Float32Array<ArrayBuffer> {
  const mean = Array.from(load_E).reduce((sum, load) => sum + load, 0) / bias_E.length;
  return bias_E.map((bias, e) => bias + rate * Math.sign(mean - load_E[e]));
}
