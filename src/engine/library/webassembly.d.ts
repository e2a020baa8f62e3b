// The part of WebAssembly's JavaScript interface that the kernels use; Node's own types leave it to the browser's.
declare namespace WebAssembly {
  function validate(bytes: Uint8Array): boolean;

  class Module {
    constructor(bytes: Uint8Array);
  }
  class Memory {
    constructor(descriptor: { initial: number; maximum: number; shared: boolean });
    readonly buffer: SharedArrayBuffer;
    grow(pages: number): number;
  }
  class Instance {
    constructor(module: Module, imports: object);
    readonly exports: Record<string, unknown>;
  }
  interface Global {
    value: number;
  }
}
