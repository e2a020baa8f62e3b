// bin/build-wasm.mjs as the tests see it.

/** What compiles the kernels to WebAssembly and compares. */
interface WasmBuild {
  /** SHA-256 of the C sources and of how they are compiled. */
  hashSources(): string;
  /** Null where clang 19 is not installed. */
  compilerVersion(): string | null;
  /** Names of the committed files that a new build does not reproduce. */
  differences(): string[];
}

const file = new URL('../../bin/build-wasm.mjs', import.meta.url).href;
export const { hashSources, compilerVersion, differences }: WasmBuild = await import(file);
