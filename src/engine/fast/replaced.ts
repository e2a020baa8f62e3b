// The kernels of tfjs that ours take the place of, for the shapes and types that training meets.
import './elementwise.ts';
import { registerOver } from '../memory.ts';
import { type FusedProductAttributes, fusedProduct, type ProductAttributes, product } from './product.ts';

registerOver<ProductAttributes>('BatchMatMul', (memory, { a, b }, attributes) => product(memory, a, b, attributes));
registerOver<FusedProductAttributes>('_FusedMatMul', fusedProduct);
