// Tables of rotary angles are made once for all layers of a step, and its gradient: they turn by the same positions.

type Make<T> = (position_T: Int32Array, frequency_h: Float64Array) => T;

/** `make` with its last answer kept, for as long as positions and frequencies are equal number by number. */
export function keepLatest<T>(make: Make<T>): Make<T> {
  let latest: { position_T: Int32Array; frequency_h: Float64Array; made: T } | undefined;
  return (position_T, frequency_h) => {
    if (!latest || !equal(latest.frequency_h, frequency_h) || !equal(latest.position_T, position_T)) {
      const made = make(position_T, frequency_h);
      latest = { position_T: position_T.slice(), frequency_h: frequency_h.slice(), made };
    }
    return latest.made;
  };
}

const equal = <A extends Int32Array | Float64Array>(a: A, b: A): boolean =>
  a.length === b.length && a.every((value: number, i: number) => value === b[i]);
