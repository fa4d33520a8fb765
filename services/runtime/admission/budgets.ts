import { limits, memoryBudget, type Limits } from '../../../machine/limits.ts';
import { MAX_BODY_BYTES_IN_ALL } from '../listener/exchange.ts';
import { MAX_UNTAKEN_BYTES } from './answers.ts';

/** Largest messages that are under way at a time: the budget of bytes is so many of them, where there is memory for it. */
export const LARGEST_MESSAGES = 4;
/** Of the memory that the process may use, for each budget. What is read of a message takes several times its bytes. */
const MEMORY_SHARE = 1 / 8;
/** Answers that wait in less could not be told from those that are on their way. */
const LEAST_UNTAKEN_BYTES = 8 * 1024 * 1024;

/**
 * What a service may hold for its callers, in bytes: less where a control group leaves little memory. Several processes of
 * a service share it, but each takes one of the largest messages.
 */
export interface Budgets {
  /** Messages of gRPC that are under way. */
  requests: number;
  /** Bodies of HTTP that are not whole yet. */
  bodies: number;
  /** Answers that callers have not taken. */
  untaken: number;
}

/** @param maxReceiveBytes - of one message, which always fits */
export function budgetsOf(maxReceiveBytes: number, machine: Limits = limits()): Budgets {
  const budget = (wanted: number, least: number): number =>
    memoryBudget({ wanted: wanted / machine.processes, share: MEMORY_SHARE, least }, machine);
  return {
    requests: budget(LARGEST_MESSAGES * maxReceiveBytes, maxReceiveBytes),
    bodies: budget(MAX_BODY_BYTES_IN_ALL, maxReceiveBytes),
    untaken: budget(MAX_UNTAKEN_BYTES, LEAST_UNTAKEN_BYTES),
  };
}
