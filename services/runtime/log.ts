import { destination, pino, type Logger } from 'pino';

/** How much is logged, from all to nothing. */
export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/**
 * The log of a service: one JSON object a line on standard error, written at once, so that the last lines of a
 * process that dies are there. It says what happened to which collection, document id or call, and never holds a
 * text of a document or a query.
 */
export function createLog(service: string, level: LogLevel): Logger {
  return pino(
    {
      level,
      base: { service, pid: process.pid },
      timestamp: () => `,"time":"${new Date().toISOString()}"`,
      formatters: { level: (label) => ({ level: label }) },
    },
    destination({ dest: 2, sync: true }),
  );
}
