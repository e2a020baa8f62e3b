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
/** SwiftShader takes seconds to compile the clearing of workgroup memory, which it has cleared already. */
const SOFTWARE_TOGGLES = [...TOGGLES, 'enable-dawn-features=disable_workgroup_init'];

/** The GPU of this machine. Makes WebGPU's names global, as tfjs-backend-webgpu expects of a browser.
 *  @throws UserError when the package is missing or no adapter is found. */
export async function openDevice(): Promise<OpenDevice> {
  const dawn = await loadDawn();
  const request = (toggles: string[]) => expose(dawn.create(toggles)).requestAdapter(POWER);
  let adapter = await request(TOGGLES);
  if (adapter?.info.isFallbackAdapter) {
    instances.push(adapter);
    adapter = await request(SOFTWARE_TOGGLES);
  }
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

const POWER = { powerPreference: 'high-performance' } as const;

type Dawn = typeof import('webgpu');

async function loadDawn(): Promise<Dawn> {
  const dawn = await import('webgpu').catch(() => {
    throw new UserError(
      "The optional package 'webgpu' is not installed or does not load: run npm install webgpu@0.6.2.",
    );
  });
  Object.assign(globalThis, dawn.globals);
  return dawn;
}

/** For good: the process dies when one that had an adapter is collected. */
const instances: object[] = [];

/** Puts the GPU where a browser has it. */
function expose(gpu: GPU): GPU {
  instances.push(gpu);
  const scope = globalThis as { navigator?: { gpu?: GPU } };
  const navigator = scope.navigator ?? {};
  Object.defineProperty(navigator, 'gpu', { value: gpu, configurable: true });
  if (!scope.navigator) Object.defineProperty(scope, 'navigator', { value: navigator, configurable: true });
  return gpu;
}
