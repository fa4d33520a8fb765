/** An `OTEL_*` variable can't be understood; the message names it and its allowed values. */
export class EnvironmentError extends Error {
  override readonly name = 'EnvironmentError';
}

/** The protocol of a receiver; the exporters read the rest from the environment themselves. */
export type ExportTarget = 'grpc' | 'http/protobuf';

const PROTOCOLS: readonly ExportTarget[] = ['grpc', 'http/protobuf'];

/**
 * How to export a signal over OTLP; `undefined` unless an endpoint is named, for most machines have no collector.
 *
 * Source: OpenTelemetry, "OpenTelemetry Protocol Exporter".
 *
 * @throws {EnvironmentError}
 */
export function exportTarget(env: NodeJS.ProcessEnv, signal: 'TRACES' | 'METRICS'): ExportTarget | undefined {
  const exporters = (env[`OTEL_${signal}_EXPORTER`] || 'otlp').split(',').map((each) => each.trim());
  const known = signal === 'TRACES' ? ['otlp', 'none'] : ['otlp', 'prometheus', 'none'];
  const unknown = exporters.find((each) => !known.includes(each));
  if (unknown !== undefined) {
    throw new EnvironmentError(
      `OTEL_${signal}_EXPORTER: is ${JSON.stringify(unknown)}; set one of ${known.join(', ')}`,
    );
  }
  if (!exporters.includes('otlp')) return undefined;
  const endpoint = env[`OTEL_EXPORTER_OTLP_${signal}_ENDPOINT`] || env['OTEL_EXPORTER_OTLP_ENDPOINT'];
  if (!endpoint) return undefined;
  if (!URL.canParse(endpoint)) {
    throw new EnvironmentError(
      `OTEL_EXPORTER_OTLP_ENDPOINT: is ${JSON.stringify(endpoint)}; set a URL, such as http://127.0.0.1:4318`,
    );
  }
  const protocol =
    env[`OTEL_EXPORTER_OTLP_${signal}_PROTOCOL`] || env['OTEL_EXPORTER_OTLP_PROTOCOL'] || 'http/protobuf';
  const target = PROTOCOLS.find((each) => each === protocol);
  if (target) return target;
  throw new EnvironmentError(
    `OTEL_EXPORTER_OTLP_PROTOCOL: is ${JSON.stringify(protocol)}; set one of ${PROTOCOLS.join(', ')}`,
  );
}

/** A variable that is `true` or not. */
export function flag(env: NodeJS.ProcessEnv, name: string): boolean {
  return env[name]?.trim().toLowerCase() === 'true';
}

/** A variable that is a number. @throws {EnvironmentError} */
export function numberOf(env: NodeJS.ProcessEnv, name: string): number | undefined {
  const text = env[name];
  if (text === undefined || text.trim() === '') return undefined;
  const value = Number(text);
  if (Number.isFinite(value) && value >= 0) return value;
  throw new EnvironmentError(`${name}: is ${JSON.stringify(text)}; set a number`);
}
