// Snappy decompression that trusts no length: damaged input is refused, never followed out of bounds or round in circles.
// Format: a varint of the output's size, then literals and copies (github.com/google/snappy, format_description.txt).

/** Decompresses into exactly `size` bytes. Throws when the input is damaged. */
export function snappy(input: Uint8Array, size: number): Uint8Array {
  const output = new Uint8Array(size);
  let from = 0;
  while (from < input.length && input[from++] >= 128);
  let to = 0;
  while (from < input.length) {
    const tag = input[from++];
    const kind = tag & 3;
    if (kind === 0) {
      let length = tag >>> 2;
      if (length >= 60) {
        const bytes = length - 59;
        length = littleEndian(input, from, bytes);
        from += bytes;
      }
      length++;
      if (from + length > input.length || to + length > size) throw new Error('a literal runs past its page');
      output.set(input.subarray(from, from + length), to);
      from += length;
      to += length;
      continue;
    }
    const length = kind === 1 ? ((tag >>> 2) & 7) + 4 : (tag >>> 2) + 1;
    const back = kind === 1 ? ((tag >>> 5) << 8) | input[from] : littleEndian(input, from, kind === 2 ? 2 : 4);
    from += kind === 1 ? 1 : kind === 2 ? 2 : 4;
    if (!(back > 0 && back <= to) || to + length > size) throw new Error('a copy runs past its page');
    if (back >= length) output.copyWithin(to, to - back, to - back + length);
    else for (let i = 0; i < length; i++) output[to + i] = output[to + i - back];
    to += length;
  }
  if (to !== size) throw new Error(`a page holds ${to} bytes, its header says ${size}`);
  return output;
}

function littleEndian(input: Uint8Array, at: number, bytes: number): number {
  let value = 0;
  for (let i = 0; i < bytes; i++) value += input[at + i] * 256 ** i;
  return value;
}
