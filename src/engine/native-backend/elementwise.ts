// The elementwise kernels and reductions that a training step spends its time in, as plain loops over fp32 arrays.
// Sums run in double precision, in index order.
import { exponential, softmaxInto } from '../host/exponential.ts';
import type { HostMemory } from '../host.ts';
import type { TensorInfo } from '../tf.ts';
import { alike, replaceKernel } from './replace.ts';

export function registerElementwise(): void {
  replaceKernel('Add', (memory, { a, b }) => (alike(a, b) ? add(memory, a, b) : null));
  replaceKernel('Multiply', (memory, { a, b }) => {
    if (alike(a, b)) return multiply(memory, a, b);
    return a.dtype === 'float32' && b.dtype === 'float32' && b.shape.length === 0 ? scale(memory, a, b) : null;
  });
  replaceKernel<{ dim: number }>('Softmax', (memory, { logits }, { dim }) =>
    logits.dtype === 'float32' && dim === logits.shape.length - 1 ? softmax(memory, logits) : null,
  );
  replaceKernel('MoeSwiglu', (memory, { gate, up }) => swiglu(memory, gate, up));
  replaceKernel('MoeSwigluGrad', (memory, { gate, up, gradient }) => swigluGrad(memory, gate, up, gradient));
}

function add(memory: HostMemory, a: TensorInfo, b: TensorInfo): TensorInfo {
  const sum = memory.allocate(a.shape);
  const [x, y, z] = [a, b, sum].map(memory.view);
  for (let i = 0; i < z.length; i++) z[i] = x[i] + y[i];
  return sum;
}

function multiply(memory: HostMemory, a: TensorInfo, b: TensorInfo): TensorInfo {
  const product = memory.allocate(a.shape);
  const [x, y, z] = [a, b, product].map(memory.view);
  for (let i = 0; i < z.length; i++) z[i] = x[i] * y[i];
  return product;
}

/** a times the one number in b. */
function scale(memory: HostMemory, a: TensorInfo, b: TensorInfo): TensorInfo {
  const product = memory.allocate(a.shape);
  const [x, z] = [a, product].map(memory.view);
  const factor = memory.view(b)[0];
  for (let i = 0; i < z.length; i++) z[i] = x[i] * factor;
  return product;
}

/** Softmax over the last axis. */
function softmax(memory: HostMemory, logits: TensorInfo): TensorInfo {
  const result = memory.allocate(logits.shape);
  const [x, p] = [logits, result].map(memory.view);
  const width = logits.shape[logits.shape.length - 1];
  for (let start = 0; start < x.length; start += width) softmaxInto(x, p, start, start + width);
  return result;
}

function swiglu(memory: HostMemory, gate: TensorInfo, up: TensorInfo): TensorInfo[] {
  const output = memory.allocate(gate.shape);
  const [g, u, y] = [gate, up, output].map(memory.view);
  for (let i = 0; i < y.length; i++) y[i] = (g[i] / (1 + exponential(-g[i]))) * u[i];
  return [output];
}

function swigluGrad(memory: HostMemory, gate: TensorInfo, up: TensorInfo, gradient: TensorInfo): TensorInfo[] {
  const outputs = [memory.allocate(gate.shape), memory.allocate(gate.shape)];
  const [g, u, dy] = [gate, up, gradient].map(memory.view);
  const [dg, du] = outputs.map(memory.view);
  for (let i = 0; i < g.length; i++) {
    const sigmoid = 1 / (1 + exponential(-g[i]));
    const silu = g[i] * sigmoid;
    dg[i] = dy[i] * u[i] * (sigmoid + silu * (1 - sigmoid));
    du[i] = dy[i] * silu;
  }
  return outputs;
}
