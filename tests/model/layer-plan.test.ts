import { describe, expect, test } from 'vitest';
import { type MoeLayers, planLayers } from '../../src/config/layer-plan.ts';

/** d dense, m moe. */
const letters = (wanted: MoeLayers, layers: number) => {
  const plan = planLayers(wanted, layers);
  return 'error' in plan ? plan.error : plan.map(kind => kind[0]).join('');
};

describe('which layers are sparse', () => {
  test.each([
    ['last 2', 6, 'ddddmm'],
    ['last 6', 6, 'mmmmmm'],
    ['last 0', 3, 'ddd'],
    ['all', 3, 'mmm'],
    ['none', 3, 'ddd'],
    [[0, 2], 4, 'mdmd'],
    [[3, 3, 1], 4, 'dmdm'],
    [[], 2, 'dd'],
  ] as [MoeLayers, number, string][])('%j of %i layers', (wanted, layers, plan) => {
    expect(letters(wanted, layers)).toBe(plan);
  });

  test.each([
    ['last 7', 6, 'layer -1'],
    ['last -1', 6, 'last -1'],
    ['last 1.5', 6, 'last 1.5'],
    [[0, 6], 6, 'layer 6'],
    [[1.5], 6, 'layer 1.5'],
    [[-1], 6, 'layer -1'],
  ] as [MoeLayers, number, string][])('%j of %i layers is refused by name', (wanted, layers, named) => {
    const error = letters(wanted, layers);
    expect(error).toContain(named);
    expect(error).toContain('0 to 5');
  });
});
