import type { BatchingLimits } from './batching.ts';
import type { Pooling } from './space.ts';
import type { RemoteOptions } from './remote/tower.ts';

/** How far a download is. */
export interface DownloadProgress {
  /** What is being fetched, for people. */
  file: string;
  receivedBytes: number;
  /** Undefined where the server does not say. */
  totalBytes: number | undefined;
}

/** Where towers are kept, and who hears of what goes on. */
export interface CacheOptions {
  /**
   * Folder of fetched towers.
   *
   * @default `SCALINGNOTE_CACHE`, else `scalingnote` in `XDG_CACHE_HOME`, else in `~/.cache`
   */
  cacheDir?: string | undefined;
  onProgress?: (progress: DownloadProgress) => void;
  /** Gets a line for each thing that whoever operates the tower should know. @default nobody */
  log?: ((message: string) => void) | undefined;
}

/** How a tower runs. Nothing here moves a vector, but for `normalize`, `pooling` and `maxTokens`. */
export interface TowerOptions extends CacheOptions {
  /** `auto`, `cpu`, `cuda`, `cuda:1`, `dml`, `coreml`, `webgpu`: what ONNX Runtime has on the platform. @default auto */
  device?: string;
  /** Threads of one run on the CPU. @default one per physical core, in a container no more than its share */
  threads?: number;
  /**
   * How many runs of the model go on at the same time on the CPU, each in a session of its own with its part of the
   * threads: `measured` tries what there is memory for, and keeps in the cache which is fastest on this machine. It is
   * for programs that encode many texts; a single one takes longer on fewer threads. With `threads` there is one.
   *
   * @default 1
   */
  sessions?: number | 'measured';
  batching?: Partial<BatchingLimits>;
  /**
   * Runs the model in the caller's thread: for a lookup student, whose run is shorter than the way to another thread.
   *
   * @default whether the tower is a `lookup` student
   */
  inline?: boolean;
  /**
   * Whether vectors have unit length. `false` gives them as they are pooled, in no space: a student's training looks at
   * lengths as well.
   *
   * @default what the tower's manifest says
   */
  normalize?: boolean;
  /**
   * How token vectors become one, against the manifest: the vectors are then in no space. For finding out how somebody
   * made theirs.
   */
  pooling?: Pooling;
  /** Longest input in tokens, against the manifest, for the same purpose. */
  maxTokens?: number;
  /** Of towers whose model a server runs. */
  remote?: RemoteOptions;
}
