import { handler, type Order } from './program.js';

// No process.exit: a client that is closed keeps no process alive.
void handler(JSON.parse(process.argv[2]!) as Order).then((report) => console.log(JSON.stringify(report)));
