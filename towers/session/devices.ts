import { existsSync, readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { InferenceSession, listSupportedBackends } from './onnxruntime.ts';
import { TowerError } from '../errors.ts';
import type { ModelOptions } from './protocol.ts';

/** Where a model may run. */
interface Device {
  provider: string;
  /** Which of several, for the providers that count. */
  index: number | undefined;
}

/** A loaded model and where it runs. */
type Created = { session: InferenceSession; device: string };

const CPU: Device = { provider: 'cpu', index: undefined };

/** Providers that take the number of a device. */
const COUNTED_PROVIDERS: ReadonlySet<string> = new Set(['cuda', 'tensorrt', 'dml']);

/**
 * What `auto` tries before the CPU. CoreML and WebGPU are for whoever names them: on text of varying length the one
 * splits the graph and is often slower than the CPU, and the other is experimental in ONNX Runtime.
 */
const AUTO_PROVIDERS: readonly string[] = ['cuda', 'dml'];

/** What Linux has where there is an NVIDIA card: its driver's device, or that of Windows below it (WSL). */
const NVIDIA_DEVICES = ['/dev/nvidiactl', '/dev/dxg'];

/** What a machine needs before a provider works. */
const REQUIREMENTS: Readonly<Record<string, string>> = {
  cuda: 'CUDA needs an NVIDIA driver, the CUDA 12 libraries and cuDNN 9 on the library path',
  tensorrt:
    'TensorRT needs an NVIDIA driver, the CUDA 12 libraries, cuDNN 9 and TensorRT 10 on the library path',
  webgpu: 'WebGPU needs a graphics driver with Vulkan, Metal or Direct3D 12',
  dml: 'DirectML needs a graphics card with Direct3D 12',
};

/**
 * Loads a model on the device that is asked for; for `auto` on the best that works, and says in one line why it is
 * the CPU.
 *
 * @throws {TowerError} `DEVICE_UNAVAILABLE`, `TOWER_MODEL_UNSUPPORTED`
 */
export async function createSession(options: ModelOptions, log: (message: string) => void): Promise<Created> {
  if (options.device !== 'auto') return createOnNamed(parseDevice(options.device), options);
  const reasons: string[] = [];
  for (const provider of AUTO_PROVIDERS.filter((name) => isKnownHere(name) && mayHaveHardware(name))) {
    const missing = whyNotInstalled(provider);
    if (missing === undefined) {
      try {
        return await create({ provider, index: 0 }, options);
      } catch (error) {
        reasons.push(`${provider}: ${firstLine(error)}`);
      }
    } else {
      reasons.push(missing);
    }
  }
  const created = await createOnCpu(options);
  log(`device auto: running on the CPU (${reasons.join('; ') || 'no accelerator found'})`);
  return created;
}

async function createOnNamed(device: Device, options: ModelOptions): Promise<Created> {
  if (device.provider === 'cpu') return createOnCpu(options);
  const missing = whyNotInstalled(device.provider);
  if (missing !== undefined) throw unavailable(device, missing);
  try {
    return await create(device, options);
  } catch (error) {
    // The CPU tells whether the model or the device is to blame.
    const { session } = await createOnCpu(options);
    await session.release();
    const requirement = REQUIREMENTS[device.provider];
    const hint = requirement === undefined ? '' : `; ${requirement}`;
    throw unavailable(device, firstLine(error) + hint, error);
  }
}

async function createOnCpu(options: ModelOptions): Promise<Created> {
  try {
    return await create(CPU, options);
  } catch (error) {
    const message = `ONNX Runtime can't load ${options.path}: ${firstLine(error)}`;
    throw new TowerError('TOWER_MODEL_UNSUPPORTED', message, { cause: error });
  }
}

/** The number is all that onnxruntime-node 1.30 takes of a GPU's settings: a memory limit would be ignored in silence. */
async function create(device: Device, { path, threads }: ModelOptions): Promise<Created> {
  const { provider, index } = device;
  const executionProvider = { name: provider, ...(index === undefined ? {} : { deviceId: index }) };
  const session = await InferenceSession.create(path, {
    executionProviders: [executionProvider],
    intraOpNumThreads: threads,
    // It throws its errors, too; its warnings are about how it optimises a graph. Neither belongs on standard error.
    logSeverityLevel: 4,
  });
  return { session, device: deviceName(device) };
}

function deviceName({ provider, index }: Device): string {
  return index === undefined ? provider : `${provider}:${index}`;
}

/** @throws {TowerError} `DEVICE_UNAVAILABLE` where this platform has no such device */
export function parseDevice(text: string): Device {
  const [, provider = '', index] = /^([a-z]+)(?::(\d{1,3}))?$/.exec(text) ?? [];
  const counted = COUNTED_PROVIDERS.has(provider);
  if (!isKnownHere(provider) || (index !== undefined && !counted)) {
    const names = listSupportedBackends().map(({ name }) =>
      COUNTED_PROVIDERS.has(name) ? `${name}[:N]` : name,
    );
    throw new TowerError(
      'DEVICE_UNAVAILABLE',
      `device "${text}" is not known on ${process.platform}-${process.arch}; there is auto, ${names.join(', ')}`,
      { metadata: { device: text } },
    );
  }
  return { provider, index: counted ? Number(index ?? 0) : undefined };
}

function isKnownHere(provider: string): boolean {
  return listSupportedBackends().some(({ name }) => name === provider);
}

/** Nobody without an NVIDIA card wants to read how CUDA is installed. */
function mayHaveHardware(provider: string): boolean {
  return (
    provider !== 'cuda' || process.platform !== 'linux' || NVIDIA_DEVICES.some((path) => existsSync(path))
  );
}

function unavailable(device: Device, why: string, cause?: unknown): TowerError {
  const name = deviceName(device);
  const message = `device "${name}" is not available: ${why}; or choose "auto" or "cpu"`;
  return new TowerError('DEVICE_UNAVAILABLE', message, { metadata: { device: name }, cause });
}

/**
 * Providers that the npm package leaves out are shared libraries beside its own. Without this look ONNX Runtime would
 * print an error of its own to standard error before it throws.
 */
function whyNotInstalled(provider: string): string | undefined {
  const backend = listSupportedBackends().find(({ name }) => name === provider);
  if (backend === undefined || backend.bundled) return undefined;
  const root = dirname(createRequire(import.meta.url).resolve('onnxruntime-node/package.json'));
  const libraries = readdirSync(join(root, 'bin'), { recursive: true, encoding: 'utf8' });
  if (libraries.some((path) => path.includes(`onnxruntime_providers_${provider}.`))) return undefined;
  const script = join(root, 'script', 'install.js');
  return (
    `ONNX Runtime's ${provider} provider is not installed; get it with ` +
    `"ONNXRUNTIME_NODE_INSTALL=cuda12 node ${script}"`
  );
}

function firstLine(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return message.split('\n', 1)[0]!.trim();
}
