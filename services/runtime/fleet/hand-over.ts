import type { Socket } from 'node:net';
import { MAX_CONNECTIONS_PER_PEER } from '../admission/admission.ts';
import { Counts } from '../admission/shares.ts';
import { HEAD_TIMEOUT_MS, MAX_CONNECTIONS } from '../listener/listener.ts';
import type { Member } from './member.ts';

/**
 * Gives each connection to the process that has fewest. The kernel could spread them by itself (SO_REUSEPORT), but by chance:
 * of two connections both go to the same process every other time, for as long as they last.
 */
export class HandOver {
  readonly #members: () => Iterable<Member>;
  readonly #peers = new Counts();
  /** Connections that came while no process took any. */
  readonly #waiting = new Map<Socket, { peer: string; timer: NodeJS.Timeout }>();
  #open = 0;

  constructor(members: () => Iterable<Member>) {
    this.#members = members;
  }

  readonly accept = (socket: Socket): void => {
    const peer = socket.remoteAddress;
    socket.on('error', () => socket.destroy());
    // Both limits are of the service; only here all its connections are known.
    if (
      peer === undefined ||
      this.#open >= MAX_CONNECTIONS ||
      this.#peers.of(peer) >= MAX_CONNECTIONS_PER_PEER
    ) {
      socket.destroy();
      return;
    }
    this.#open++;
    this.#peers.add(peer);
    const member = this.#choose();
    if (member) member.give(socket, peer);
    else this.#wait(socket, peer);
  };

  /** A connection that was let in has ended. */
  readonly closed = (peer: string): void => {
    this.#open--;
    this.#peers.remove(peer);
  };

  /** A process takes connections: those that wait go there. */
  again(): void {
    for (const [socket, { peer, timer }] of this.#waiting) {
      const member = this.#choose();
      if (!member) return;
      clearTimeout(timer);
      this.#waiting.delete(socket);
      socket.removeAllListeners('close');
      member.give(socket, peer);
    }
  }

  /** Ends the connections that wait. */
  close(): void {
    for (const socket of this.#waiting.keys()) socket.destroy();
  }

  #wait(socket: Socket, peer: string): void {
    const timer = setTimeout(() => socket.destroy(), HEAD_TIMEOUT_MS);
    this.#waiting.set(socket, { peer, timer });
    socket.once('close', () => {
      clearTimeout(timer);
      this.#waiting.delete(socket);
      this.closed(peer);
    });
  }

  /** Those that serve come first. */
  #choose(): Member | undefined {
    let chosen: Member | undefined;
    for (const member of this.#members()) {
      if (!member.isOpen) continue;
      const serves = Number(member.notServing === undefined) - Number(chosen?.notServing === undefined);
      if (!chosen || serves > 0 || (serves === 0 && member.open < chosen.open)) chosen = member;
    }
    return chosen;
  }
}
