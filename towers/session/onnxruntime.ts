/** ONNX Runtime, for every module of ours: no other one imports the library, so that none loads it with telemetry on. */
// The order matters.
import './no-telemetry.ts';
export { InferenceSession, listSupportedBackends, Tensor } from 'onnxruntime-node';
