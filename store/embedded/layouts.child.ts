/**
 * Opens a store and dies on the way, for tests: `node layouts.child.js DIRECTORY STATEMENT` kills itself with SIGKILL
 * before the statement of that number, and ends by itself where there are fewer.
 */
import { Engine } from './engine.ts';
import { watchStatements } from './testing/watch-statements.ts';

const [directory, last] = [process.argv[2]!, Number(process.argv[3])];
let statements = 0;

watchStatements(() => {
  if (++statements === last) process.kill(process.pid, 'SIGKILL');
});
new Engine(directory, 5000, () => {}).close();
