// All WGSL kernels, registered by being imported.
import './adamw.ts';
import './cross-entropy.ts';
import './embedding.ts';
import './rms-norm.ts';
import './sum-of-squares.ts';
