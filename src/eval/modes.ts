// Which routing modes a model is looked at with: as it is meant to infer, free, and with language ids given.

import type { RoutingMode } from '../../routing/types.ts';
import { MODES } from '../../routing/types.ts';
import type { RouterSettings } from '../config/schema.ts';
import { UserError } from '../errors.ts';

/**
 * How the router uses language ids when they are given: as at inference if that uses them, else as in training, else
 * forced. Null for a router that has no use for them.
 */
export function givenMode(router: RouterSettings): RoutingMode | null {
  const wanted = [router.inference_mode, router.train_mode].find(mode => mode !== 'free') ?? 'forced';
  return MODES[router.kind].includes(wanted) ? wanted : null;
}

/** The mode that a user asked for by name; by default the model's own inference mode. */
export function readMode(asked: string | undefined, router: RouterSettings): RoutingMode {
  const mode = asked ?? router.inference_mode;
  const known = MODES[router.kind].find(candidate => candidate === mode);
  if (!known)
    throw new UserError(
      `--routing ${mode} is not a mode of a ${router.kind} router; use ${MODES[router.kind].join(' or ')}.`,
    );
  return known;
}
