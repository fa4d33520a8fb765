import { elementCount, float32, type Tensor } from '../onnx/tensor.ts';

/** Numbers that look random and are the same each time, from −1 to 1. */
export function noise(dims: readonly number[], seed = 1, scale = 1): Tensor {
  const values = Float32Array.from({ length: elementCount(dims) }, (_, i) => {
    const x = Math.sin((i + 1) * 12.9898 + seed * 78.233) * 43758.5453;
    return scale * (2 * (x - Math.floor(x)) - 1);
  });
  return float32(dims, values);
}
