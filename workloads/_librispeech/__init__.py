"""What the two speech workloads share: reading LibriSpeech, and their models' front."""
