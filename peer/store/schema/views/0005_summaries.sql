-- Summaries of recordings: what lists are made of. No projections: they are computed from them when they are looked for, and whatever changes a row
-- that one was computed from takes it away.

CREATE TABLE summaries (
    recording_no INTEGER PRIMARY KEY,
    group_no INTEGER NOT NULL,
    version INTEGER NOT NULL,
    id BLOB NOT NULL,
    site BLOB NOT NULL,
    deleted INTEGER NOT NULL,
    folded TEXT NOT NULL,
    machine TEXT NOT NULL,
    created_ns INTEGER NOT NULL,
    start_ns INTEGER,
    end_ns INTEGER,
    size INTEGER NOT NULL,
    message_count INTEGER NOT NULL,
    content BLOB NOT NULL,
    words TEXT NOT NULL,
    summary BLOB NOT NULL,
    files BLOB NOT NULL
);

CREATE INDEX summaries_by_id ON summaries (id);

-- What a recording has several of, to look it up by: tags, topics, schemas, properties.
CREATE TABLE summary_terms (
    kind TEXT NOT NULL,
    term TEXT NOT NULL,
    recording_no INTEGER NOT NULL,
    PRIMARY KEY (kind, term, recording_no)
) WITHOUT ROWID;

CREATE INDEX summary_terms_by_recording ON summary_terms (recording_no);

CREATE TRIGGER terms_go AFTER DELETE ON summaries BEGIN DELETE FROM summary_terms WHERE recording_no = OLD.recording_no; END;

CREATE TRIGGER recording_changed AFTER UPDATE ON recordings BEGIN DELETE FROM summaries WHERE recording_no = OLD.recording_no; END;
CREATE TRIGGER recording_gone AFTER DELETE ON recordings BEGIN DELETE FROM summaries WHERE recording_no = OLD.recording_no; END;

CREATE TRIGGER chunk_added AFTER INSERT ON chunks BEGIN DELETE FROM summaries WHERE recording_no = NEW.recording_no; END;
CREATE TRIGGER chunk_changed AFTER UPDATE ON chunks BEGIN DELETE FROM summaries WHERE recording_no = NEW.recording_no; END;

CREATE TRIGGER topics_added AFTER INSERT ON chunk_topics BEGIN DELETE FROM summaries WHERE recording_no = NEW.recording_no; END;
CREATE TRIGGER topics_changed AFTER UPDATE ON chunk_topics BEGIN DELETE FROM summaries WHERE recording_no = NEW.recording_no; END;

CREATE TRIGGER attachment_added AFTER INSERT ON attachments BEGIN DELETE FROM summaries WHERE recording_no = NEW.recording_no; END;
CREATE TRIGGER attachment_changed AFTER UPDATE ON attachments BEGIN DELETE FROM summaries WHERE recording_no = NEW.recording_no; END;

CREATE TRIGGER annotation_added AFTER INSERT ON annotations BEGIN DELETE FROM summaries WHERE recording_no = NEW.recording_no; END;
CREATE TRIGGER annotation_changed AFTER UPDATE ON annotations BEGIN DELETE FROM summaries WHERE recording_no = NEW.recording_no; END;

-- The registers of a group have its number, below zero, as their holder: no recording has that.
CREATE TRIGGER register_added AFTER INSERT ON registers BEGIN DELETE FROM summaries WHERE recording_no = NEW.holder; END;
CREATE TRIGGER register_changed AFTER UPDATE ON registers BEGIN DELETE FROM summaries WHERE recording_no = NEW.holder; END;

CREATE TRIGGER manifest_added AFTER INSERT ON manifests BEGIN DELETE FROM summaries WHERE recording_no = NEW.recording_no; END;
CREATE TRIGGER manifest_changed AFTER UPDATE ON manifests BEGIN DELETE FROM summaries WHERE recording_no = NEW.recording_no; END;
CREATE TRIGGER manifest_gone AFTER DELETE ON manifests BEGIN DELETE FROM summaries WHERE recording_no = OLD.recording_no; END;
