// The most probable path of a family's tokens through the experts, as a Markov chain over MoE layers:
//   argmax π(e₁) Π_l P_l(e_{l+1} | e_l),   π and P from the family's flow F_l, the mean of its languages' (M13)
// found by dynamic programming (Viterbi 1967). E experts, L layers. Ties go to the lower expert.
import type { ColumnTable } from 'arquero';
import type { TraceHeader } from '../../routing/trace.ts';
import { familiesOf } from '../table.ts';

export interface ModalPath {
  family: string;
  /** [L] expert in each layer of the chain. */
  experts: number[];
  /** [L − 1] share of the family's token weight that takes the step, F_l(e_l, e_{l+1}). */
  shares: number[];
}

/** Layers that the flow table joins one after another, from its first. */
export function chainOf(flows: ColumnTable): number[] {
  const next = new Map<number, number>();
  const [start, end] = ['from', 'to'].map(name => flows.array(name) as ArrayLike<number>);
  for (let i = 0; i < flows.numRows(); i++) next.set(start[i], end[i]);
  const chain = next.size > 0 ? [Math.min(...next.keys())] : [];
  while (chain.length > 0 && next.has(chain[chain.length - 1])) chain.push(next.get(chain[chain.length - 1])!);
  return chain;
}

/** The path of each family with flow, in the order of familiesOf. `flows` is by language, each weighing 1. */
export function modalPaths(flows: ColumnTable, header: TraceHeader): ModalPath[] {
  const chain = chainOf(flows);
  const E = header.numExperts;
  const families = familiesOf(header);
  const joint = familyFlows(flows, chain, header);
  return families.flatMap((family, f) => {
    const steps = joint.map(ofFamily => ofFamily[f]);
    if (steps.length === 0 || steps.some(step => step.every(mass => mass === 0))) return [];
    const experts = viterbi(steps, E);
    const shares = steps.map((step, l) => {
      const total = step.reduce((a, b) => a + b, 0);
      return step[experts[l] * E + experts[l + 1]] / total;
    });
    return [{ family, experts, shares }];
  });
}

/** [L − 1][family][E · E]: sums over the family's languages. */
function familyFlows(flows: ColumnTable, chain: number[], header: TraceHeader): Float64Array[][] {
  const E = header.numExperts;
  const families = familiesOf(header);
  const familyOf = new Map(header.languages.map(({ code, family }) => [code, families.indexOf(family)]));
  const place = new Map(chain.map((layer, i) => [layer, i]));
  const joint = chain.slice(1).map(() => families.map(() => new Float64Array(E * E)));
  const [start, group, source, target, flow] = ['from', 'group', 'source', 'target', 'flow'].map(
    name => flows.array(name) as ArrayLike<unknown>,
  );
  for (let i = 0; i < flows.numRows(); i++) {
    const step = joint[place.get(start[i] as number) ?? -1];
    const family = familyOf.get(group[i] as string);
    if (!step || family === undefined) continue;
    step[family][(source[i] as number) * E + (target[i] as number)] += flow[i] as number;
  }
  return joint;
}

/** Best path through joint masses [E · E] of consecutive steps; at least one step. */
export function viterbi(steps: ArrayLike<number>[], E: number): number[] {
  const rowMass = (step: ArrayLike<number>, e: number) => {
    let sum = 0;
    for (let f = 0; f < E; f++) sum += step[e * E + f];
    return sum;
  };
  let score = Float64Array.from({ length: E }, (_, e) => Math.log(rowMass(steps[0], e)));
  const back: Int32Array[] = [];
  for (const step of steps) {
    const best = new Float64Array(E).fill(-Infinity);
    const from = new Int32Array(E);
    for (let e = 0; e < E; e++) {
      const mass = rowMass(step, e);
      if (mass === 0 || score[e] === -Infinity) continue;
      for (let f = 0; f < E; f++) {
        const value = score[e] + Math.log(step[e * E + f] / mass);
        if (value <= best[f]) continue;
        best[f] = value;
        from[f] = e;
      }
    }
    back.push(from);
    score = best;
  }
  const path = [score.indexOf(Math.max(...score))];
  for (const from of back.reverse()) path.unshift(from[path[0]]);
  return path;
}
