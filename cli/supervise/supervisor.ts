import { setTimeout as sleep } from 'node:timers/promises';
import { type RestartPolicy, Restarts } from '../../calls/restarts.ts';
import { CliError, note } from '../output/print.ts';
import { type ServiceProcess, StartFailure, startService } from '../service-processes.ts';
import type { Ending } from './ending.ts';
import type { LogFile } from './log-file.ts';

/** Exit code of a service that was called wrongly. Another start can't help. */
const EXIT_USAGE = 2;

/** What a supervisor needs. */
export interface Supervision {
  log: LogFile;
  /** Flags of Node. */
  nodeFlags?: readonly string[] | undefined;
  /** Aborts the first start. */
  signal?: AbortSignal | undefined;
  policy?: RestartPolicy | undefined;
}

/** A service that is started again, at the same ports, when it dies. */
export class Supervisor {
  /** Its process, or the last one that it had. */
  current: ServiceProcess;
  /** Rejects when the service is given up; it never resolves. */
  readonly givenUp: Promise<never>;
  readonly #stopping = new AbortController();
  readonly #given: Supervision;
  readonly #flags: readonly string[];
  readonly #restarts: Restarts;
  /** The process that is being started again. */
  #starting: Promise<ServiceProcess> | undefined;

  private constructor(process: ServiceProcess, flags: readonly string[], given: Supervision) {
    this.current = process;
    this.#given = given;
    this.#restarts = new Restarts(given.policy);
    this.#flags = [...withoutPorts(flags), ...portsOf(process)];
    this.givenUp = this.#supervise();
    this.givenUp.catch(() => {});
  }

  /** Starts a service. A failure of this first start is final. @throws {StartFailure} */
  static async start(
    name: ServiceProcess['name'],
    flags: readonly string[],
    given: Supervision,
  ): Promise<Supervisor> {
    const { log, nodeFlags, signal } = given;
    const process = await startService(name, flags, { signal, nodeFlags, onLine: (line) => log.write(line) });
    return new Supervisor(process, flags, given);
  }

  get name(): ServiceProcess['name'] {
    return this.current.name;
  }

  /** Ends the service, and what would start it again. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    const starting = await this.#starting?.catch(() => undefined);
    await (starting ?? this.current).stop();
    this.#given.log.close();
  }

  async #supervise(): Promise<never> {
    for (;;) {
      const end = await this.current.died;
      await this.#restart(end);
    }
  }

  /** Starts the service again, as often as it takes. @throws {CliError} where that is too often */
  async #restart(end: Ending): Promise<void> {
    let { cause, lastWords } = end;
    let what = 'died';
    for (;;) {
      const waitMs = this.#waitMs(cause, lastWords);
      this.#say(`the ${this.name} service ${what} (${cause}); it starts again in ${waitMs / 1000} s`);
      await this.#pause(waitMs);
      const { log, nodeFlags } = this.#given;
      try {
        this.#starting = startService(this.name, this.#flags, {
          signal: this.#stopping.signal,
          nodeFlags,
          onLine: (line) => log.write(line),
        });
        this.current = await this.#starting;
        this.#say(`the ${this.name} service runs again (process ${this.current.pid})`);
        return;
      } catch (error) {
        if (!(error instanceof StartFailure)) throw error;
        // A start that was called off is no failure.
        await this.#pause(0);
        if (error.exitCode === EXIT_USAGE) throw error;
        [what, cause, lastWords] = ['could not start', error.reason, ''];
      }
    }
  }

  /** How long to wait before the next start. @throws {CliError} where there is none */
  #waitMs(cause: string, lastWords: string): number {
    const waitMs = this.#restarts.died();
    if (waitMs !== undefined) return waitMs;
    const words = lastWords === '' ? '' : `; ${lastWords}`;
    throw new CliError(
      `the ${this.name} service died ${this.#restarts.found}, the last time of ` +
        `${cause}, and is not started again${words}; all of its log is in ${this.#given.log.path}`,
    );
  }

  /** Waits; does not return once the service has to stop. */
  async #pause(ms: number): Promise<void> {
    const { signal } = this.#stopping;
    try {
      await sleep(ms, undefined, { signal });
    } catch {
      // Whoever stops the service does not wait for it to be given up.
      await new Promise<never>(() => {});
    }
  }

  #say(msg: string): void {
    note(msg);
    const line = { level: 'warn', time: new Date().toISOString(), service: this.name, pid: process.pid, msg };
    this.#given.log.write(JSON.stringify(line));
  }
}

const PORT_FLAGS: ReadonlySet<string | undefined> = new Set(['--port', '--metrics-port']);

function withoutPorts(flags: readonly string[]): string[] {
  return flags.filter((flag, at) => !PORT_FLAGS.has(flag) && !PORT_FLAGS.has(flags[at - 1]));
}

/** Flags that lead a service to the ports that its predecessor had. */
function portsOf({ address, metrics }: ServiceProcess): string[] {
  const port = (at: string): string => at.slice(at.lastIndexOf(':') + 1);
  return ['--port', port(address), ...(metrics === undefined ? [] : ['--metrics-port', port(metrics)])];
}
