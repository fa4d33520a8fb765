/** Faults that a simulation has or has not; each has most of them, so that they meet in many ways. */
export interface FaultMix {
  store: boolean;
  full: boolean;
  tower: boolean;
  cuts: boolean;
  halfOpen: boolean;
  drains: boolean;
  crashes: boolean;
  drops: boolean;
  restores: boolean;
  jumps: boolean;
  clientKills: boolean;
  /** Most milliseconds that a message takes. */
  latency: number;
  /** Most milliseconds between two mishaps. */
  calm: number;
}
