import { FlotillaError } from '@flotilla/errors';

/** The states of a container, and nothing else, with those that may follow each. */
const following = {
  creating: ['created', 'removing'],
  created: ['starting', 'removing'],
  starting: ['running', 'created', 'exited'],
  running: ['pausing', 'stopping', 'exited'],
  pausing: ['paused', 'running', 'exited'],
  paused: ['running', 'stopping', 'exited'],
  stopping: ['exited'],
  exited: ['starting', 'removing'],
  removing: ['dead'],
  dead: ['removing'],
} as const;

export type StateName = keyof typeof following;

export const stateNames = Object.keys(following) as readonly StateName[];

/** Whether one state may follow another. */
export function mayFollow(from: StateName, to: StateName): boolean {
  return (following[from] as readonly StateName[]).includes(to);
}

/** FAILED_PRECONDITION / ILLEGAL_TRANSITION when `to` may not follow `from`. */
export function checkTransition(from: StateName, to: StateName, containerId: string): void {
  if (mayFollow(from, to)) return;
  throw new FlotillaError('failed_precondition', `container ${containerId} is ${from}: it cannot become ${to}`, {
    reason: 'ILLEGAL_TRANSITION',
    metadata: { containerId, from, to },
  });
}

/** States with a process of the container, or with one that may be about to be. */
export function isLive(state: StateName): boolean {
  return state === 'running' || state === 'pausing' || state === 'paused' || state === 'stopping';
}
