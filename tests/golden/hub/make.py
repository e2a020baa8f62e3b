# Makes the golden files of this folder: python make.py, with safetensors 0.8.0, numpy and ml_dtypes.
#   small.safetensors  every common dtype, a scalar, an empty tensor and one metadata key, written by the reference library
#   floats.safetensors only F32, F16, BF16 and I32, the types that our writer writes: compared with it byte for byte
#   half.json          float32 bits and the binary16 and bfloat16 bits that numpy and ml_dtypes round them to
import json
import sys

import ml_dtypes
import numpy as np
from safetensors.numpy import save_file

here = sys.path[0]


ramp = np.arange(6, dtype=np.float32).reshape(2, 3) / 4 - 0.5
floats = {
    'b.weight': ramp,
    'a.weight': ramp * 3,
    'a.bias': np.array([1.5, -2.25], np.float16),
    'naïve.ß': np.array([[1.0], [3.140625]], ml_dtypes.bfloat16),
    'scalar': np.array(7, np.float32),
    'empty': np.zeros((0, 4), np.float32),
    'ids': np.array([-1, 2**31 - 1, -(2**31)], np.int32),
}
more = {
    'f64': np.array([0.1, -1e300]),
    'i8': np.array([-128, 127, 5], np.int8),
    'i16': np.array([-32768, 32767], np.int16),
    'u16': np.array([65535], np.uint16),
    'u32': np.array([4294967295], np.uint32),
    'i64': np.array([-5, 2**40], np.int64),
    'u64': np.array([7], np.uint64),
    'u8': np.array([0, 255, 3], np.uint8),
    'bool': np.array([True, False, True]),
}
save_file(floats, f'{here}/floats.safetensors', {'format': 'pt'})
save_file({**floats, **more}, f'{here}/small.safetensors', {'format': 'pt'})

rng = np.random.default_rng(0)
bits = rng.integers(0, 2**32, 1200, dtype=np.uint32)
# Random bits are mostly too large or too small for binary16: add exponents around its range, and ties just above and below.
near = (rng.integers(100, 145, 1200, dtype=np.uint32) << 23) | rng.integers(0, 2**23, 1200, dtype=np.uint32)
ties = near[:400] & 0xFFFFE000 | 0x1000
edges = np.array([0, 0x80000000, 0x7F800000, 0xFF800000, 0x477FEFFF, 0x477FF000, 0x33000000, 0x33000001, 0x387FFFFF,
                  0x38800000, 0x7F7FFFFF, 0x3F808000, 0x3F818000, 1, 0x007FFFFF], np.uint32)
bits = np.concatenate([bits, near, ties, ties + 1, ties - 1, near[:200] & 0xFFFF0000 | 0x8000, edges])
value = bits.view(np.float32)
value = value[~np.isnan(value)]
with np.errstate(over='ignore'):
    golden = {
        'float32': value.view(np.uint32).tolist(),
        'float16': value.astype(np.float16).view(np.uint16).tolist(),
        'bfloat16': value.astype(ml_dtypes.bfloat16).view(np.uint16).tolist(),
    }
json.dump(golden, open(f'{here}/half.json', 'w'), separators=(',', ':'))
