import { storeContract } from '../contract.ts';
import { MemoryData } from './memory-data.ts';
import { MemoryStore } from './memory-store.ts';

const data = new MemoryData();

storeContract('memory', {
  open: async () => new MemoryStore({ data }),
  positionAhead: (position) => String(Number(position) + 1),
});
