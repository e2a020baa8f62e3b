// A WGSL kernel as a value: its source says what it binds and which parameters it takes, so nothing has to be said twice.
// Bindings are group 0, numbered from 0; parameters are one struct of 4-byte numbers behind the last binding, a uniform:
//   struct Parameters { rows: u32, epsilon: f32 }
//   @group(0) @binding(2) var<uniform> parameters: Parameters;

/** A kernel with the entry point `main`. */
export interface Program {
  /** For people, in error messages and timings. */
  name: string;
  /** WGSL. */
  code: string;
  /** Values of the source's `override` constants. */
  constants?: Record<string, number>;
}

type Access = 'read-only-storage' | 'storage' | 'uniform';
type NumberType = 'u32' | 'i32' | 'f32';

/** What the source of a program says of itself. */
export interface Interface {
  bindings: Access[];
  parameters: { name: string; type: NumberType }[];
}

const BINDING = /@group\(0\)\s*@binding\((\d+)\)\s*var<\s*(uniform|storage)\s*(?:,\s*(read|read_write)\s*)?>/g;
const PARAMETERS = /struct\s+Parameters\s*\{([^}]*)\}/;

/** Reads bindings and parameters off the source. @throws Error when bindings are not numbered 0, 1, 2 … in order. */
export function interfaceOf({ name, code }: Program): Interface {
  const found = [...code.matchAll(BINDING)];
  found.forEach(([, number], i) => {
    if (Number(number) !== i) throw new Error(`kernel ${name}: binding ${number} stands at place ${i}`);
  });
  const bindings = found.map(([, , space, access]): Access => {
    if (space === 'uniform') return 'uniform';
    return access === 'read_write' ? 'storage' : 'read-only-storage';
  });
  const fields = PARAMETERS.exec(code)?.[1].matchAll(/(\w+)\s*:\s*(u32|i32|f32)/g) ?? [];
  return { bindings, parameters: [...fields].map(([, field, type]) => ({ name: field, type: type as NumberType })) };
}

/** The parameters as the bytes of a uniform buffer. @throws Error when one is missing, unknown or does not fit its type. */
export function packParameters(
  { name }: Program,
  fields: Interface['parameters'],
  values: Record<string, number>,
): ArrayBuffer {
  const given = Object.keys(values);
  const wanted = fields.map(field => field.name);
  if (given.length !== wanted.length || wanted.some(field => !given.includes(field)))
    throw new Error(`kernel ${name} takes parameters ${wanted.join(', ')}, got ${given.join(', ')}`);
  const view = new DataView(new ArrayBuffer(Math.max(16, Math.ceil(fields.length / 4) * 16)));
  fields.forEach(({ name: field, type }, i) => {
    const value = values[field];
    if (type !== 'f32' && !Number.isInteger(value)) throw new Error(`kernel ${name}: ${field} is ${value}, no integer`);
    if (type === 'f32') view.setFloat32(4 * i, value, true);
    else if (type === 'i32') view.setInt32(4 * i, value, true);
    else view.setUint32(4 * i, value, true);
  });
  return view.buffer;
}
