/**
 * Lets a process end between the calls of its threads, never inside one. Where the process ends, Node stops its threads
 * wherever they are; native code that is interrupted in a call throws where nobody can catch it, and the process ends
 * with "terminate called" and a core dump instead of its exit code.
 */

/** Cells of the memory that both sides share. */
const LEAVING = 0;
const BUSY = 1;
const CELLS = 2;

/**
 * How long the end of a process waits for a call: longer than the embedded store waits for the lock of another process.
 */
const EXIT_WAIT_MS = 10_000;

/** Gates of this process's threads. */
const gates = new Set<Int32Array>();

/** The thread's side of a gate. */
export class ThreadGate {
  readonly #cells: Int32Array | undefined;
  /** Works under way: one may begin while another waits for its promise. */
  #depth = 0;

  /** @param memory from {@link holdExit}; without any, as in a process, nothing is held */
  constructor(memory: SharedArrayBuffer | undefined) {
    this.#cells = memory && new Int32Array(memory);
  }

  /** Begins work that must not be interrupted. Where the process is ending, it never returns. */
  enter(): void {
    if (!this.#cells || this.#depth++ > 0) return;
    Atomics.store(this.#cells, BUSY, 1);
    if (Atomics.load(this.#cells, LEAVING) === 0) return;
    this.leave();
    Atomics.wait(this.#cells, LEAVING, 1);
  }

  leave(): void {
    if (!this.#cells || --this.#depth > 0) return;
    Atomics.store(this.#cells, BUSY, 0);
    Atomics.notify(this.#cells, BUSY);
  }
}

/**
 * Makes the end of this process wait until a thread is outside its calls.
 *
 * @returns the memory for the thread's {@link ThreadGate}, and what to call once the thread has ended
 */
export function holdExit(): { memory: SharedArrayBuffer; release: () => void } {
  const memory = new SharedArrayBuffer(CELLS * Int32Array.BYTES_PER_ELEMENT);
  const cells = new Int32Array(memory);
  if (gates.size === 0) process.on('exit', closeGates);
  gates.add(cells);
  return {
    memory,
    release: () => {
      gates.delete(cells);
      if (gates.size === 0) process.off('exit', closeGates);
    },
  };
}

function closeGates(): void {
  for (const cells of gates) Atomics.store(cells, LEAVING, 1);
  const giveUp = Date.now() + EXIT_WAIT_MS;
  for (const cells of gates) {
    while (Atomics.load(cells, BUSY) === 1) {
      const remainingMs = giveUp - Date.now();
      if (remainingMs <= 0) return endAtOnce();
      Atomics.wait(cells, BUSY, 1, remainingMs);
    }
  }
}

/** A thread that never comes out of its call would be interrupted in it, so the process ends without a last word of Node. */
function endAtOnce(): void {
  process.stderr.write(
    `a thread was still working ${EXIT_WAIT_MS} ms after the end of the process began; it is killed\n`,
  );
  process.kill(process.pid, 'SIGKILL');
}
