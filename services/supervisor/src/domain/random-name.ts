import { randomInt } from 'node:crypto';

const moods = [
  'brisk calm candid clever deft eager earnest fearless fluent gentle hardy hearty jolly keen limber lively lucid mellow',
  'merry modest nimble patient placid plucky proud quick quiet ready robust serene sharp shrewd sincere snug spry stable',
  'staunch steady stoic sturdy sunny supple swift tidy tireless trusty upbeat vivid wakeful warm willing wise witty zesty',
]
  .join(' ')
  .split(' ');

// Seafarers, shipwrights and chart makers.
const sailors = [
  'albuquerque amundsen anson barents baffin beaufort bering blackwall bligh bougainville byron cabot cano cartier cook',
  'coronelli dampier davis diaz drake elcano erikson fernandez flinders franklin frobisher gama halley hawkins heyerdahl',
  'hipparchus hudson humboldt kotzebue laperouse lind magellan mackenzie malaspina mercator nansen ortelius parry peary',
  'piccard ptolemy pytheas ross scoresby shackleton slocum smollett tasman tupaia vancouver vespucci weddell zarco zheng',
]
  .join(' ')
  .split(' ');

/** A name for a container that was given none: `brisk_magellan`; with a number behind it after the first attempts. */
export function randomName(attempt: number): string {
  const name = `${moods[randomInt(moods.length)]}_${sailors[randomInt(sailors.length)]}`;
  return attempt < 6 ? name : `${name}_${randomInt(1_000_000)}`;
}
