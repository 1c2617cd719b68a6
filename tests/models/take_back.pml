/* A table taken back from limbo by a re-plug of the same range, against faulters of its former life.
 *
 * A faulter may hold a pointer to the table and the generation it saw, across the moment where the table
 * goes to limbo and comes back for the next incarnation. Worst is the slow one: between claiming the page
 * and installing it, it left the lock and the RCU section to read its source, so the content in its hands
 * is that of the old incarnation. It then looks the region up again and finds the new one, alive, the
 * owner of that same table, with that same page Filling, because a fault of the new incarnation claimed it.
 *
 * Property: what a live incarnation shows is its own content (no byte of an earlier one, no install that
 * overwrites), and a table comes back from limbo empty.
 *
 * Broken variants: NO_GENERATION_BUMP, NO_OWNER_CHECK_NO_BUMP, TAKE_BACK_DIRTY, UNLOCKED_TAKE_BACK.
 */
mtype = { Absent, Filling, Present };

#define FAULTERS 2
#define INCARNATIONS 3

byte map;                       /* the published incarnation, 0 none */
bool live[INCARNATIONS + 1];    /* one way: true, then false for ever */
byte owner;                     /* of the table: an incarnation, 0 in limbo */
byte generation;
bool locked;
mtype page = Absent;
byte content;                   /* the incarnation whose bytes the page shows */
byte populated;                 /* the table's counter of pages that are not Absent */
bool claimed_once;
byte done;

#define LOCK atomic { !locked -> locked = true }
#define UNLOCK locked = false

proctype Faulter() {
  byte region, seen, data;
  bool claimed;

  /* Look up, then claim the page. */
  region = map;
  if
  :: region == 0 -> goto out
  :: else -> skip
  fi;
  seen = generation;
  LOCK;
  if
  :: owner == region && generation == seen && live[region] && page == Absent ->
    page = Filling;
    populated++;
    claimed = true
  :: else -> skip
  fi;
  UNLOCK;
  if
  :: !claimed -> goto out
  :: else -> skip
  fi;

  /* The source blocks: no lock, no RCU section. */
  data = region;

  /* From step 1 again: the region that is there now. */
  region = map;
  if
  :: region == 0 -> goto out
  :: else -> skip
  fi;
  LOCK;
  if
#ifdef NO_OWNER_CHECK_NO_BUMP
  :: generation == seen && page == Filling ->
#else
  :: owner == region && generation == seen && live[region] && page == Filling ->
#endif
    content = data;
    page = Present;
    assert(content == owner)
  :: else -> skip
  fi;
  UNLOCK;
out:
  done++
}

proctype Control() {
  byte incarnation = 1;
  do
  :: incarnation <= INCARNATIONS ->
    /* Plug: the table comes from limbo (the first time: from the heap, which is the same). */
#ifndef UNLOCKED_TAKE_BACK
    LOCK;
#endif
    assert(populated == 0 && page == Absent);
    owner = incarnation;
#if !defined(NO_GENERATION_BUMP) && !defined(NO_OWNER_CHECK_NO_BUMP)
    generation++;
#endif
#ifndef UNLOCKED_TAKE_BACK
    UNLOCK;
#endif
    live[incarnation] = true;
    map = incarnation;

    if
    :: incarnation == INCARNATIONS -> break
    :: else -> skip
    fi;

    /* Unplug. */
    live[incarnation] = false;
    map = 0;
#ifndef UNLOCKED_TAKE_BACK
    LOCK;
#endif
    owner = 0;
#ifndef TAKE_BACK_DIRTY
    page = Absent;
    content = 0;
    populated = 0;
#endif
#ifndef UNLOCKED_TAKE_BACK
    UNLOCK;
#endif
    incarnation++
  od;
  done++
}

init {
  atomic { run Faulter(); run Faulter(); run Control() }
  done == FAULTERS + 1;
  assert(page != Present || content == owner)
}
