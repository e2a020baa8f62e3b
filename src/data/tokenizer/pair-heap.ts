// Binary max-heap of (weight, key, index): the heaviest entry first, among equals the lowest key.
// Parallel arrays instead of objects: the BPE trainer pushes millions of entries.

export class PairHeap {
  private readonly weights: number[] = [];
  private readonly keys: number[] = [];
  private readonly indices: number[] = [];

  push(weight: number, key: number, index: number): void {
    let hole = this.weights.length;
    while (hole > 0) {
      const parent = (hole - 1) >> 1;
      if (!comesFirst(weight, key, this.weights[parent], this.keys[parent])) break;
      this.move(parent, hole);
      hole = parent;
    }
    this.put(hole, weight, key, index);
  }

  pop(): { weight: number; index: number } | null {
    if (this.weights.length === 0) return null;
    const top = { weight: this.weights[0], index: this.indices[0] };
    const weight = this.weights.pop()!;
    const key = this.keys.pop()!;
    const index = this.indices.pop()!;
    const size = this.weights.length;
    if (size === 0) return top;
    let hole = 0;
    for (let child = 1; child < size; child = 2 * hole + 1) {
      const other = child + 1;
      if (other < size && comesFirst(this.weights[other], this.keys[other], this.weights[child], this.keys[child])) {
        child = other;
      }
      if (!comesFirst(this.weights[child], this.keys[child], weight, key)) break;
      this.move(child, hole);
      hole = child;
    }
    this.put(hole, weight, key, index);
    return top;
  }

  private move(from: number, to: number): void {
    this.put(to, this.weights[from], this.keys[from], this.indices[from]);
  }

  private put(at: number, weight: number, key: number, index: number): void {
    this.weights[at] = weight;
    this.keys[at] = key;
    this.indices[at] = index;
  }
}

const comesFirst = (weight: number, key: number, otherWeight: number, otherKey: number): boolean =>
  weight > otherWeight || (weight === otherWeight && key < otherKey);
