// Opens a GPU through Dawn (npm `webgpu`), an optional package: the adapter, and a device with what the kernels can use.
// Limits above WebGPU's portable ones are asked for only where a model needs them (sizes of buffers) or where more bindings
// make fewer passes; kernels read what was granted and run on the portable ones too.

import { UserError } from '../../errors.ts';

/** A device and one sentence about the adapter that it came from. */
export interface OpenDevice {
  device: GPUDevice;
  info: GPUAdapterInfo;
  /** Name of the adapter, and whether it is a program on the processor. */
  description: string;
}

const WANTED_FEATURES: GPUFeatureName[] = ['shader-f16', 'timestamp-query'];
const WANTED_LIMITS = [
  'maxBufferSize',
  'maxStorageBufferBindingSize',
  'maxStorageBuffersPerShaderStage',
  'maxComputeWorkgroupStorageSize',
] as const;

/** Dawn rounds timestamps by default, which hides what a kernel takes. */
const TOGGLES = ['disable-dawn-features=timestamp_quantization'];

/** The GPU of this machine. Makes WebGPU's names global, as tfjs-backend-webgpu expects of a browser.
 *  @throws UserError when the package is missing or no adapter is found. */
export async function openDevice(): Promise<OpenDevice> {
  const gpu = await loadDawn();
  const adapter = await gpu.requestAdapter({ powerPreference: 'high-performance' });
  if (!adapter) {
    throw new UserError(
      'No GPU driver was found: WebGPU needs Vulkan (on Debian: libvulkan1 and the driver of the card), Metal or Direct3D 12.',
    );
  }
  const device = await adapter.requestDevice({
    requiredFeatures: WANTED_FEATURES.filter(feature => adapter.features.has(feature)),
    requiredLimits: Object.fromEntries(WANTED_LIMITS.map(limit => [limit, adapter.limits[limit] as number])),
  });
  const { info } = adapter;
  const software = info.isFallbackAdapter ? ', which computes on the processor' : '';
  return { device, info, description: `${info.description || info.device || info.vendor}${software}` };
}

async function loadDawn(): Promise<GPU> {
  const dawn = await import('webgpu').catch(() => {
    throw new UserError(
      "The optional package 'webgpu' is not installed or does not load: run npm install webgpu@0.6.2.",
    );
  });
  Object.assign(globalThis, dawn.globals);
  const gpu = dawn.create(TOGGLES) as GPU;
  const scope = globalThis as { navigator?: { gpu?: GPU } };
  const navigator = scope.navigator ?? {};
  Object.defineProperty(navigator, 'gpu', { value: gpu, configurable: true });
  if (!scope.navigator) Object.defineProperty(scope, 'navigator', { value: navigator, configurable: true });
  return gpu;
}
