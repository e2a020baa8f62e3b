// All forms for TensorFlow, registered by being imported; tfjs keeps them by name until that backend is there.
import './attention.ts';
import './cross-entropy.ts';
import './embedding.ts';
import './gather-rows.ts';
import './grouped-linear.ts';
import './pick-columns.ts';
import './rms-norm.ts';
import './rope.ts';
import './swiglu-network.ts';
