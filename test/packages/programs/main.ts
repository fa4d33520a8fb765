import { handler, type Order } from './program.js';

// No process.exit: a client that is closed keeps no process alive.
const [, , order = ''] = process.argv;
void handler(JSON.parse(order) as Order).then((report) => console.log(JSON.stringify(report)));
