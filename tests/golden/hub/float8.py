# Makes float8.json and float8.safetensors: python float8.py, with torch 2.13.0 and safetensors 0.8.0. The float32 bits to which torch widens each of the 256 codes of
# float8_e4m3fn and float8_e5m2 (safetensors' F8_E4M3 and F8_E5M2); NaN, whose bits are free, is null.
import json
from pathlib import Path

import torch
from safetensors.torch import save_file

codes = torch.arange(256).to(torch.uint8)
table = {}
for name, dtype in (('F8_E4M3', torch.float8_e4m3fn), ('F8_E5M2', torch.float8_e5m2)):
    values = codes.view(dtype).to(torch.float32)
    bits = values.view(torch.int32).tolist()
    table[name] = [None if nan else bit & 0xFFFFFFFF for bit, nan in zip(bits, values.isnan().tolist())]
Path(__file__).with_name('float8.json').write_text(json.dumps(table) + '\n')

# Every code in a file of the reference library, between the types beside which its order puts them.
save_file(
    {
        'e4m3': codes.clone().view(torch.float8_e4m3fn),
        'e5m2': codes.clone().view(torch.float8_e5m2),
        'u8': codes[:4].clone(),
        'i8': codes[:4].to(torch.int8),
        'half': torch.ones(3, dtype=torch.float16),
    },
    Path(__file__).with_name('float8.safetensors'),
)
