// The tfjs backends `native` and `wasm`: tensors in memory that the C kernels reach, our kernels for what training
// uses, and every kernel of tfjs's own `cpu` backend for the rest.

import { bfloat16ToFloat32 } from './bfloat16.ts';
import type { Library } from './library/library.ts';
import './fast/replaced.ts';
import { borrowTheRest, type KernelArgument, type KernelMemory } from './memory.ts';
import type { TensorInfo } from './tf.ts';
import { tf } from './tf.ts';

interface Entry {
  values: Float32Array;
  dtype: string;
  /** Made by `allocate`: its memory goes back to the library. */
  owned?: boolean;
  /** Integers or booleans as fp32, from the library: tfjs casts them by a new label on the same array. */
  floats?: Float32Array;
  halves?: Halves;
}

/** What a tensor in bf16 has instead of values: those are widened anew for each who asks. */
interface Halves {
  values: Uint16Array;
  /** From the library, where its kernels do not reach the caller's array. */
  memory?: Float32Array;
}

class KernelBackend extends tf.MathBackendCPU implements KernelMemory {
  readonly library: Library;

  constructor(library: Library) {
    super();
    this.library = library;
    Object.assign(this, { firstUse: false }); // else the first tensor prints an advertisement
  }

  allocate(shape: number[]): TensorInfo {
    const tensor = this.makeTensorInfo(shape, 'float32', this.library.allocate(tf.util.sizeFromShape(shape)));
    this.entryOf(tensor).owned = true;
    return tensor;
  }

  view(tensor: TensorInfo): Float32Array {
    const entry = this.entryOf(tensor);
    if (entry.halves || !(entry.values instanceof Float32Array)) {
      entry.floats ??= this.copied(entry.values);
      return entry.floats;
    }
    if (!this.library.reaches(entry.values)) this.takeOver(entry);
    return entry.values;
  }

  own(tensor: TensorInfo): Float32Array {
    const entry = this.entryOf(tensor);
    if (entry.halves) throw new Error('a tensor in bf16 cannot be changed: it is for inference only');
    if (this.refCount(tensor.dataId) > 1) throw new Error('a tensor that shares its values cannot be changed in place');
    if (!entry.owned) this.takeOver(entry);
    return entry.values;
  }

  halves(tensor: TensorInfo): Uint16Array | null {
    return this.entryOf(tensor).halves?.values ?? null;
  }

  keepHalves(values: Uint16Array, shape: number[]): TensorInfo {
    const halves = this.library.reaches(values) ? { values } : this.copiedHalves(values);
    const tensor = this.makeTensorInfo(shape, 'float32', new Float32Array());
    const values32 = { get: () => bfloat16ToFloat32(halves.values) };
    Object.defineProperty(Object.assign(this.entryOf(tensor), { halves }), 'values', values32);
    return tensor;
  }

  release(...tensors: TensorInfo[]): void {
    for (const tensor of tensors) this.disposeData(tensor.dataId);
  }

  call(kernel: string, ...values: KernelArgument[]): void {
    this.library.call(kernel, values);
  }

  override disposeData(dataId: object, force = false): boolean {
    const entry = this.data.has(dataId) ? (this.data.get(dataId) as unknown as Entry) : undefined;
    const gone = super.disposeData(dataId, force);
    if (entry?.owned && gone) this.library.free(entry.values);
    if (entry?.floats && gone) this.library.free(entry.floats);
    if (entry?.halves?.memory && gone) this.library.free(entry.halves.memory);
    return gone;
  }

  /** A copy, as the memory is used again after the tensor is gone. */
  override readSync(dataId: object): ReturnType<InstanceType<typeof tf.MathBackendCPU>['readSync']> {
    const values = super.readSync(dataId);
    return values instanceof Float32Array && this.library.owns(values) ? values.slice() : values;
  }

  /** Some kernels of tfjs answer with a view of their input. It must not outlive that input's memory. */
  keepApart(outputs: TensorInfo | TensorInfo[]): void {
    for (const output of Array.isArray(outputs) ? outputs : [outputs]) {
      const entry = this.entryOf(output);
      if (!entry.owned && !entry.halves && entry.values instanceof Float32Array && this.library.owns(entry.values)) {
        entry.values = entry.values.slice();
      }
    }
  }

  private entryOf({ dataId }: TensorInfo): Entry {
    return this.data.get(dataId) as unknown as Entry;
  }

  /** Moves a borrowed array into the library's memory. */
  private takeOver(entry: Entry): void {
    Object.assign(entry, { values: this.copied(entry.values), owned: true });
  }

  private copied(values: ArrayLike<number>): Float32Array {
    const copy = this.library.allocate(values.length);
    copy.set(values);
    return copy;
  }

  private copiedHalves(halves: Uint16Array): Halves {
    const memory = this.library.allocate(Math.ceil(halves.length / 2));
    const values = new Uint16Array(memory.buffer, memory.byteOffset, halves.length);
    values.set(halves);
    return { values, memory };
  }
}

/** Makes tfjs know a backend on these kernels. Does nothing when the name is known already. */
export function registerKernelBackend(name: 'native' | 'wasm', library: Library): void {
  if (tf.findBackendFactory(name)) return;
  borrowTheRest();
  tf.registerBackend(name, () => new KernelBackend(library));
}
