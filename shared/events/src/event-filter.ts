import type { Event, StreamEventsRequest } from '@flotilla/proto/flotilla/v1/event';

type Filters = Pick<StreamEventsRequest, 'types' | 'actions' | 'actors' | 'labels' | 'sinceUnixNano'>;

/** Actions that carry a text of their own after a colon are matched by their first word. */
const withText = ['health_status', 'exec_create', 'exec_start'];

/** Whether an event passes: several values of one filter are alternatives, different filters must all hold. */
export function matchesFilters(event: Event, { types, actions, actors, labels, sinceUnixNano }: Filters): boolean {
  return (
    (sinceUnixNano === undefined || event.timeUnixNano >= sinceUnixNano) &&
    (types.length === 0 || types.includes(event.type)) &&
    (actions.length === 0 || actions.some((action) => matchesAction(event.action, action))) &&
    (actors.length === 0 || actors.some((actor) => matchesActor(event, actor))) &&
    labels.every((label) => matchesLabel(event.attributes, label))
  );
}

function matchesAction(action: string, wanted: string): boolean {
  return action === wanted || (withText.includes(wanted) && action.startsWith(`${wanted}:`));
}

function matchesActor({ actorId, attributes }: Event, wanted: string): boolean {
  return actorId.startsWith(wanted) || attributes.name === wanted || attributes.image === wanted;
}

function matchesLabel(attributes: Readonly<Record<string, string>>, label: string): boolean {
  const equals = label.indexOf('=');
  if (equals === -1) return label in attributes;
  return attributes[label.slice(0, equals)] === label.slice(equals + 1);
}
