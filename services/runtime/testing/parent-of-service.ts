import { fork } from 'node:child_process';

/** Starts the service beside it, passes on what it reports, and lives until it is killed. */
const child = fork(new URL('./idle-service.js', import.meta.url), ['--port', '0']);
child.on('message', (message) => process.send?.(message));
