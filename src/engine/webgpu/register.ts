// All WGSL kernels, registered by being imported.
import './rms-norm.ts';
