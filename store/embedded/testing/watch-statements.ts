import { Database, type Statement } from '../database.ts';

/**
 * Calls `before` ahead of every statement that any {@link Database} of this process runs from now on. A script counts
 * statement by statement.
 *
 * @returns ends the watch for databases and statements made later
 */
export function watchStatements(before: (sql: string) => void): () => void {
  const { exec, prepare, write } = Database.prototype;
  Database.prototype.exec = function (sql) {
    for (const statement of sql.split(';').filter((part) => part.trim() !== '')) {
      before(statement);
      exec.call(this, statement);
    }
  };
  Database.prototype.prepare = function (sql) {
    const statement = prepare.call(this, sql);
    const watched = Object.create(null) as Statement;
    for (const method of ['run', 'get', 'all'] as const) {
      watched[method] = (...parameters: never[]) => {
        before(sql);
        return statement[method](...parameters) as never;
      };
    }
    return watched;
  };
  Database.prototype.write = function (work) {
    before('BEGIN');
    return write.call(this, () => {
      const result = work();
      before('COMMIT');
      return result;
    }) as ReturnType<typeof work>;
  };
  return () => Object.assign(Database.prototype, { exec, prepare, write });
}
