// All WGSL kernels, registered by being imported.
import './adamw.ts';
import './attention-gradient.ts';
import './attention.ts';
import './cross-entropy.ts';
import './embedding.ts';
import './gather-rows.ts';
import './grouped-linear.ts';
import './pick-columns.ts';
import './product.ts';
import './rms-norm.ts';
import './rope.ts';
import './sum-of-squares.ts';
import './swiglu-network.ts';
import './swiglu.ts';
