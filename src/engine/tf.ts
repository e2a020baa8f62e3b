// The one place that imports tfjs. Everything else takes `tf` and its types from here.
import * as tf from '@tensorflow/tfjs';

export type { Scalar, Tensor, Tensor1D, Tensor2D, Tensor3D, Tensor4D, TensorInfo, Variable } from '@tensorflow/tfjs';
export { tf };
