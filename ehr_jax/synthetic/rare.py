"""Rare diseases of the synthetic hospital: named in notes, told apart by what is known of them.

A patient has one, for life. Nothing but its name stands in the records, and it is somebody's name,
which says nothing. A knowledge graph with the Disease Ontology's definitions tells the two families
apart: the grave ones harm the brain, the mild ones leave it alone. (How the families act on death
is planted, and no statement about these diseases.) Each disease belongs to one split, so that none
of a tested patient was ever trained on: its name cannot be learned by heart.
"""

from typing import NamedTuple

import numpy as np

SHARES = {"train": 0.65, "validation": 0.1, "test": 0.25}  # of diseases, hence of patients

GRAVE = (
    "Aicardi syndrome; Aicardi-Goutieres syndrome; Al Kaissi syndrome; Alexander disease; "
    "Alpers-Huttenlocher syndrome; Alsahan-Harris syndrome; Angelman syndrome; Arboleda-Tham "
    "syndrome; Armfield syndrome; Ayme-Gripp syndrome; Bainbridge-Ropers syndrome; "
    "Baraitser-Winter syndrome; Bardet-Biedl syndrome; Basilicata-Akhtar syndrome; Behr syndrome; "
    "Birk-Barel syndrome; Borjeson-Forssman-Lehmann syndrome; Boucher-Neuhauser syndrome; Canavan "
    "disease; Christianson syndrome; Clark-Baraitser syndrome; Coffin-Siris syndrome; Cohen "
    "syndrome; Cri-Du-Chat syndrome; De Sanctis-Cacchione syndrome; Dravet syndrome; Filippi "
    "syndrome; Fliedner-Zweier syndrome; Gerstmann-Straussler-Scheinker syndrome; Gillespie "
    "syndrome; Goldberg-Shprintzen syndrome; Guillouet-Gordon syndrome; Halperin-Birk syndrome; "
    "Harel-Yoon syndrome; Hengel-Maroofian-Schols syndrome; Joubert syndrome; Kabuki syndrome; "
    "Kagami-Ogata syndrome; Kahrizi syndrome; Kleefstra syndrome; Kohlschutter-Tonz syndrome; "
    "Kufor-Rakeb syndrome; Lafora disease; Landau-Kleffner syndrome; Laurence-Moon syndrome; "
    "Leigh disease; Lennox-Gastaut syndrome; Lesch-Nyhan syndrome; Luo-Schoch-Yamamoto syndrome; "
    "Machado-Joseph disease; Marinesco-Sjogren syndrome; Marshall-Smith syndrome; Martsolf "
    "syndrome; Mast syndrome; Mowat-Wilson syndrome; Mullegama-Klein-Martinez syndrome; "
    "Nicolaides-Baraitser syndrome; Norman-Roberts syndrome; Ogden syndrome; Ohdo syndrome; "
    "Paganini-Miozzo syndrome; Pan-Chung-Bellen syndrome; Partington syndrome; "
    "Pelizaeus-Merzbacher disease; Pierpont syndrome; Pilarowski-Bjornsson syndrome; Pitt-Hopkins "
    "syndrome; Popov-Chang syndrome; Potocki-Lupski syndrome; Potocki-Shaffer syndrome; Prieto "
    "syndrome; Rafiq syndrome; Raynaud-Claes syndrome; Renpenning syndrome; Rett syndrome; "
    "Rubinstein-Taybi syndrome; Schaaf-Yang syndrome; Shukla-Vernon syndrome; Sifrim-Hitz-Weiss "
    "syndrome; Sjogren-Larsson syndrome; Snijders Blok-Campeau syndrome; Tatton-Brown-Rahman "
    "syndrome; Tay-Sachs disease; Temtamy syndrome; Tonne-Kalscheuer syndrome; Troyer syndrome; "
    "Unverricht-Lundborg syndrome; Van Maldergem syndrome; Vissers-Bodmer syndrome; Waisman "
    "syndrome; Walker-Warburg syndrome; West syndrome; White-Sutton syndrome; Wieacker-Wolff "
    "syndrome; Williams-Beuren syndrome; Wilson-Turner syndrome; Wolf-Hirschhorn syndrome; "
    "Woodhouse-Sakati syndrome; Yunis-Varon syndrome; Zellweger syndrome"
).split("; ")
MILD = (
    "Aagenaes syndrome; Aarskog syndrome; Achard syndrome; Alagille syndrome; Alport syndrome; "
    "Andersen-Tawil syndrome; Antley-Bixler syndrome; Axenfeld-Rieger syndrome; Ballard syndrome; "
    "Baller-Gerold syndrome; Bamforth-Lazarus syndrome; Bart-Pumphrey syndrome; "
    "Beckwith-Wiedemann syndrome; Beemer-Langer syndrome; Bernard-Soulier syndrome; Bjornstad "
    "syndrome; Blau syndrome; Bloom syndrome; Brooke-Spiegler syndrome; Bruck syndrome; "
    "Buschke-Ollendorff syndrome; Camurati-Engelmann disease; Carney-Stratakis syndrome; Caroli "
    "disease; Carvajal syndrome; Castleman disease; Chanarin-Dorfman syndrome; Chandler syndrome; "
    "Char syndrome; Churg-Strauss syndrome; Clouston syndrome; Cogan syndrome; Cogan-Reese "
    "syndrome; Cowden syndrome; Crigler-Najjar syndrome; Cronkhite-Canada syndrome; Currarino "
    "syndrome; Denys-Drash syndrome; Dowling-Degos disease; Dubin-Johnson syndrome; Ehlers-Danlos "
    "syndrome; Eiken syndrome; Ellis-Van Creveld syndrome; Erdheim-Chester disease; Fabry "
    "disease; Fanconi syndrome; Fanconi-Bickel syndrome; Fox-Fordyce disease; Fuhrmann syndrome; "
    "Goodpasture syndrome; Guttmacher syndrome; Hailey-Hailey disease; Hajdu-Cheney syndrome; "
    "Hallermann-Streiff syndrome; Holt-Oram syndrome; Jackson-Weiss syndrome; Jalili syndrome; "
    "Kartagener syndrome; Kindler syndrome; Klippel-Trenaunay syndrome; Larsen syndrome; Liddle "
    "syndrome; Loeys-Dietz syndrome; Lown-Ganong-Levine syndrome; Maffucci syndrome; Majeed "
    "syndrome; Marfan syndrome; Mayer-Rokitansky-Kuster-Hauser syndrome; Meester-Loeys syndrome; "
    "Mietens syndrome; Mikulicz disease; Mononen-Karnes-Senac syndrome; Muir-Torre syndrome; "
    "Naegeli-Franceschetti-Jadassohn syndrome; Naxos disease; Netherton syndrome; Nezelof "
    "syndrome; Ollier disease; Omenn syndrome; Peutz-Jeghers syndrome; Pierson syndrome; Poland "
    "syndrome; Rapp-Hodgkin syndrome; Robinow syndrome; Rothmund-Thomson syndrome; Ruijs-Aalfs "
    "syndrome; Sakati-Nyhan syndrome; Schopf-Schulz-Passarge syndrome; Scott syndrome; "
    "Senior-Loken syndrome; Stickler syndrome; Stormorken syndrome; Sweeney-Cox syndrome; Tangier "
    "disease; Treacher Collins syndrome; Weill-Marchesani syndrome; Weissenbacher-Zweymuller "
    "syndrome; Winchester syndrome; Worth syndrome; Zollinger-Ellison syndrome"
).split("; ")


class Drawn(NamedTuple):
    """What was drawn; one row a patient."""

    disease: np.ndarray  # [patient] object, its name
    sign: np.ndarray  # [patient] float64, 1 where it is grave, -1 where mild
    split: np.ndarray  # [patient] object, the key of SHARES that the disease belongs to


def draw(patients: int, rng: np.random.Generator) -> Drawn:
    """Draws a disease for each patient, all equally likely, and the split each belongs to."""
    names = np.array(GRAVE + MILD, dtype=object)
    sign = np.repeat((1.0, -1.0), (len(GRAVE), len(MILD)))
    split = np.concatenate([_splits(len(family), rng) for family in (GRAVE, MILD)])
    disease = rng.integers(0, names.size, patients)
    return Drawn(names[disease], sign[disease], split[disease])


def _splits(diseases: int, rng: np.random.Generator) -> np.ndarray:
    bounds = np.rint(np.cumsum([0, *SHARES.values()]) * diseases).astype(int)
    return rng.permutation(np.repeat(np.array(list(SHARES), object), np.diff(bounds)))
